package objectives

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

// How often what is missed is looked at again: a quarter of what is asked for, within these.
const (
	lookFirst  = 15 * time.Second
	lookLatest = 10 * time.Minute
)

// both are the objectives, in the order in which they are told.
var both = [...]string{etcdschema.ObjectiveRPO, etcdschema.ObjectiveRTO}

// Kind is what happens when an instance's objectives are due.
func (o *Objectives) Kind() due.Kind {
	return due.Kind{Name: plan.DueObjectives, Happen: o.happen, Places: 4, Within: 30 * time.Second}
}

// judge says what of that which is asked for is missed, and when it has to be looked at next; never: when something was measured. An
// instance of which nothing is kept is as old as that.
func judge(r Recovery, made, now time.Time) (missed map[string]string, next time.Time) {
	missed = map[string]string{}
	if most := seconds(r.Asked.RPO); most > 0 {
		until, by := made, ""
		if r.RPO != nil {
			until, by = r.RPO.Until, r.RPO.By
		}
		if next = until.Add(most); !now.Before(next) {
			next = now.Add(min(max(most/4, lookFirst), lookLatest))
			missed[etcdschema.ObjectiveRPO] = tooOld(until, by, most)
		}
	}
	if most := seconds(r.Asked.RTO); most > 0 && r.RTO != nil && r.RTO.Seconds > most.Seconds() {
		missed[etcdschema.ObjectiveRTO] = fmt.Sprintf("The last %s took %.0f s; it may take %s.", r.RTO.By, r.RTO.Seconds, most)
	}
	return missed, next
}

func tooOld(until time.Time, by string, most time.Duration) string {
	switch by {
	case ByLog:
		return fmt.Sprintf("What was written after %s is not in the shipped log; that may be %s behind.", control.Stamp(until), most)
	case ByBackup:
		return fmt.Sprintf("The newest good backup is of %s; it may be %s old.", control.Stamp(until), most)
	}
	return fmt.Sprintf("There is no good backup of the instance, which is there since %s; one may be %s old.", control.Stamp(until), most)
}

// happen looks whether an instance misses what is asked for.
func (o *Objectives) happen(ctx context.Context, item due.Item) error {
	cp := o.Control
	rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.ObjectivesKey(item.Project, item.ID))
	if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
		return err
	}
	if !rec.Found || !rec.Value.Due.Equal(item.At) {
		return o.drop(ctx, item)
	}
	m, err := cp.Instance(ctx, control.Caller{Project: item.Project}, item.ID)
	if err != nil && !fault.IsNotFound(err) {
		return err
	}
	var r Recovery
	if m.ID != "" {
		if r, err = o.Of(ctx, m); err != nil {
			return err
		}
	}
	return o.found(ctx, item, r)
}

// found writes what is missed from now on, and tells what was not before.
func (o *Objectives) found(ctx context.Context, item due.Item, r Recovery) error {
	key, instance := etcdschema.ObjectivesKey(item.Project, item.ID), etcdschema.InstanceKey(item.Project, item.ID)
	var begun []string
	_, err := o.Control.Store.Update(ctx, []etcdschema.Ref{key, instance}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		begun = nil
		rec, err := etcdschema.Read(s, key)
		if err != nil || !rec.Found || !rec.Value.Due.Equal(item.At) {
			return nil, err // another gateway was first
		}
		in, err := etcdschema.Read(s, instance)
		if err != nil {
			return nil, err
		}
		now, is := o.Control.Now().UTC(), rec.Value
		var missed map[string]string
		var next time.Time
		if in.Found {
			r.Asked = is
			missed, next = judge(r, in.Value.Created, now)
		}
		var ops []etcdschema.Op
		for _, one := range both {
			was, wasMissed := is.Missed[one]
			why, isMissed := missed[one]
			event := etcdschema.Event{At: now, Kind: "status", Message: why}
			switch place := etcdschema.MissedKey(one, item.Project, item.ID); {
			case isMissed && wasMissed:
				missed[one] = was
				continue
			case isMissed:
				begun = append(begun, one)
				ops = append(ops, etcdschema.Put(place, etcdschema.Missed{}))
			case wasMissed:
				event.Kind, event.Message = "note", "the instance meets its "+one+" again"
				if is.RPO == 0 && one == etcdschema.ObjectiveRPO || is.RTO == 0 && one == etcdschema.ObjectiveRTO {
					event.Message = "the instance has no " + one + " to meet any more"
				}
				ops = append(ops, etcdschema.Delete(place))
			default:
				continue
			}
			if in.Found {
				ops = append(ops, plan.Tell(&in.Value, event)...)
			}
		}
		if !in.Found || is.RPO == 0 && is.RTO == 0 {
			drop, err := item.Drop(s, plan.DueObjectives)
			ops = append(append(ops, drop...), etcdschema.Delete(key))
			if in.Found {
				ops = append(ops, etcdschema.Put(instance, in.Value))
			}
			return ops, err
		}
		if !maps.Equal(is.Missed, missed) {
			ops = append(ops, etcdschema.Put(instance, in.Value))
		}
		is.Missed = missed
		return append(ops, plan.PutObjectives(is, next, now)...), nil
	})
	if err != nil {
		return err
	}
	for _, one := range begun {
		o.counter(one).Add(1)
	}
	return nil
}

// drop takes away the key of objectives that are gone, or are due at another time.
func (o *Objectives) drop(ctx context.Context, item due.Item) error {
	return due.Forget(ctx, o.Control.Store, item, plan.DueObjectives, etcdschema.ObjectivesKey(item.Project, item.ID), func(one etcdschema.Objectives) time.Time { return one.Due })
}

// Why says what of that which is asked for is missed, in sentences.
func Why(o etcdschema.Objectives) (all []string) {
	for _, one := range slices.Sorted(maps.Keys(o.Missed)) {
		all = append(all, o.Missed[one])
	}
	return all
}
