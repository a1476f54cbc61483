// Package objectives measures what is lost with an instance and how long it takes to have it again, and tells when that is more than somebody
// has asked for. When it is looked at stands in the due index, so that any gateway does it; what nobody has asked for costs nothing.
package objectives

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Objectives are those of all projects.
type Objectives struct {
	Control *control.Plane

	rpo, rto atomic.Uint64
}

// Missed counts how often this gateway has found that an objective is missed.
func (o *Objectives) Missed(objective string) uint64 { return o.counter(objective).Load() }

func (o *Objectives) counter(objective string) *atomic.Uint64 {
	if objective == etcdschema.ObjectiveRTO {
		return &o.rto
	}
	return &o.rpo
}

// What can be asked for, in seconds.
const (
	leastRPO = 60
	leastRTO = 1
	longest  = 366 * 24 * 60 * 60
)

// Request is what a client asks for, in seconds; 0: nothing any more. What it does not say stays as it is.
type Request struct {
	RPO *int `json:"rpo"` // how old what is kept may be
	RTO *int `json:"rto"` // how long the last restore may have taken
}

// check refuses with 400 what cannot be asked for.
func (req Request) check() error {
	if req.RPO == nil && req.RTO == nil {
		return fault.Errorf(fault.BadRequest, `Validation error: instance['objectives'] must be like {"rpo": 86400, "rto": 900}, in seconds; 0 asks for nothing any more.`)
	}
	for _, one := range []struct {
		name  string
		asked *int
		least int
	}{{"rpo", req.RPO, leastRPO}, {"rto", req.RTO, leastRTO}} {
		if n := one.asked; n != nil && *n != 0 && (*n < one.least || *n > longest) {
			return fault.Errorf(fault.BadRequest, "Validation error: instance['objectives']['%s'] must be from %d to %d seconds, or 0.", one.name, one.least, longest)
		}
	}
	return nil
}

// Set has it be told from now on when an instance misses what is asked for.
func (o *Objectives) Set(ctx context.Context, c control.Caller, id string, req Request) error {
	cp := o.Control
	if err := req.check(); err != nil {
		return err
	}
	m, err := cp.Instance(ctx, c, id)
	if err == nil {
		err = cp.MayBackUp(ctx, m.Instance, false) // what is never kept is always missed
	}
	if err != nil {
		return err
	}
	instance, key := etcdschema.InstanceKey(c.Project, id), etcdschema.ObjectivesKey(c.Project, id)
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{instance, key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, instance)
		in, err := fault.Found(rec, err, "Instance", id)
		if err == nil {
			err = plan.NoDrill(in)
		}
		if err != nil {
			return nil, err
		}
		has, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		is, now := has.Value, cp.Now().UTC()
		is.Project, is.Instance = c.Project, id
		set(&is.RPO, req.RPO)
		set(&is.RTO, req.RTO)
		if is.RPO == has.Value.RPO && is.RTO == has.Value.RTO {
			return nil, nil
		}
		ops := plan.Tell(&in, etcdschema.Event{At: now, Kind: "note", Message: asking(is), Request: c.Request})
		return append(append(ops, etcdschema.Put(instance, in)), plan.PutObjectives(is, now, now)...), nil
	})
	return err
}

func set(to *int, from *int) {
	if from != nil {
		*to = *from
	}
}

// asking says what is asked for, for the timeline.
func asking(o etcdschema.Objectives) string {
	var words []string
	if o.RPO > 0 {
		words = append(words, fmt.Sprintf("what is kept may be %s old", seconds(o.RPO)))
	}
	if o.RTO > 0 {
		words = append(words, fmt.Sprintf("a restore may take %s", seconds(o.RTO)))
	}
	if len(words) == 0 {
		return "nothing is asked of the instance's recovery any more"
	}
	return strings.Join(words, ", and ")
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// Missing is how many instances miss an objective, of all projects.
func (o *Objectives) Missing(ctx context.Context, objective string) (int64, error) {
	return etcdschema.Count(ctx, o.Control.Store, etcdschema.MissedOf(objective))
}

// Asked reads what is asked of an instance's recovery, and what of that is missed.
func (o *Objectives) Asked(ctx context.Context, project, id string) (etcdschema.Objectives, error) {
	rec, err := etcdschema.Get(ctx, o.Control.Store, etcdschema.ObjectivesKey(project, id))
	if fault.IsNotFound(err) {
		err = nil
	}
	return rec.Value, err
}
