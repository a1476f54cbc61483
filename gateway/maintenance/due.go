package maintenance

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/plan"
)

// tryAgain is how long an instance is left alone that could not begin; its window is open meanwhile.
const tryAgain = time.Minute

// Kind is what happens when maintenance is due.
func (m *Maintenance) Kind() due.Kind {
	return due.Kind{Name: plan.DueUpkeep, Happen: m.happen, Places: 4, Within: 30 * time.Second}
}

// happen begins what waits for a window that is open.
func (m *Maintenance) happen(ctx context.Context, item due.Item) (err error) {
	var k Known
	_, err = m.Control.Store.Look(ctx, 0, Refs(item.Project, item.ID), func(s etcdschema.Snapshot) error {
		k, err = m.Read(s, item.Project, item.ID)
		return err
	})
	now := m.Control.Now()
	switch {
	case err != nil:
		return err
	case !k.Due.Equal(item.At):
		return due.Forget(ctx, m.Control.Store, item, plan.DueUpkeep, etcdschema.MaintenanceKey(item.Project, item.ID), func(one etcdschema.Maintenance) time.Time { return one.Due })
	case k.Pending == nil || k.Window == nil || now.Before(k.From): // missed: the next one
		return m.later(ctx, item, "", false)
	}
	c := control.Caller{Project: k.Project, Who: identity.Who{UserName: "maintenance window"}, Request: k.Pending.Request}
	err = m.begin(ctx, c, k)
	why := fault.Refusal(err)
	switch {
	case errors.Is(err, errBefore):
		return nil
	case why == nil || ctx.Err() != nil:
		return err
	}
	return m.later(ctx, item, why.Message, slices.Contains([]fault.Kind{fault.BadRequest, fault.ItemNotFound, fault.NotImplemented}, why.Kind))
}

// later has what could not begin wait: for a little while its window is open, else for the next one. What never will begin is given up.
func (m *Maintenance) later(ctx context.Context, item due.Item, reason string, never bool) error {
	_, err := m.Control.Store.Update(ctx, Refs(item.Project, item.ID), func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		k, err := m.Read(s, item.Project, item.ID)
		if err != nil || !k.Due.Equal(item.At) {
			return nil, err
		}
		if k.Pending == nil || k.Window == nil {
			return plan.PutMaintenance(k.Maintenance, time.Time{}, m.Control.Now()), nil
		}
		now, p := m.Control.Now(), *k.Pending
		if never {
			k.Pending = nil
			told, err := m.tell(s, k.Project, p.Instance, wish(p)+" in the maintenance window was given up: "+reason)
			return append(told, m.put(k)...), err
		}
		var told []etcdschema.Op
		if reason != "" && p.Reason == "" {
			if told, err = m.tell(s, k.Project, p.Instance, wish(p)+" could not begin, and is tried again as long as the maintenance window is open, and in the next one: "+reason); err != nil {
				return nil, err
			}
		}
		p.Reason, k.Pending = reason, &p
		at := now.Add(tryAgain)
		if reason == "" || !at.Before(k.To) {
			if at = k.From; !now.Before(at) {
				at, _ = open(*k.Window, k.To)
			}
		}
		return append(told, plan.PutMaintenance(k.Maintenance, at, now)...), nil
	})
	return err
}
