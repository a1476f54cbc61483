package pitr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// How often an archive is looked at that waits: for its instance to be ready or free, for its guest, or for its base backup.
const (
	lookSoon   = 2 * time.Second
	lookLatest = time.Minute
	askAgain   = 30 * time.Second
	// triesLatest is how long it takes at most until a base backup is tried again that has failed.
	triesLatest = 10 * time.Minute
)

var never time.Time

// Kind is what happens when an archive is due.
func (r *Recovery) Kind() due.Kind {
	return due.Kind{Name: plan.DueArchive, Happen: r.happen, Places: 4, Within: time.Minute}
}

// happen does what has to be done next about the log of an instance.
func (r *Recovery) happen(ctx context.Context, item due.Item) error {
	cp := r.Control
	rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.ArchiveKey(item.Project, item.ID))
	if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
		return err
	}
	a := rec.Value
	if !rec.Found || !a.Due.Equal(item.At) {
		return r.drop(ctx, item)
	}
	c := control.Caller{Project: a.Project, Who: identity.Who{UserName: "point in time recovery"}}
	m, err := cp.Instance(ctx, c, a.Instance)
	if err != nil && !fault.IsNotFound(err) {
		return err
	}
	all, err := cp.Backups(ctx, etcdschema.Backups(a.Project))
	if err == nil {
		err = r.next(ctx, c, item, a, m, all)
	}
	if errors.Is(err, due.ErrBefore) {
		return nil
	}
	return err
}

// next finds out what that is, and does it.
func (r *Recovery) next(ctx context.Context, c control.Caller, item due.Item, a etcdschema.Archive, m lifecycle.Member, all []etcdschema.Backup) error {
	if rest := needless(a, all); rest != nil {
		return r.trim(ctx, item, *rest)
	}
	now := r.Control.Now().UTC()
	later := func(at time.Time) error {
		return r.step(ctx, item, func(_ etcdschema.Snapshot, a *etcdschema.Archive) (time.Time, []etcdschema.Op, error) {
			return at, nil, nil
		})
	}
	w := a.Open()
	switch {
	case w == nil && len(a.Windows) == 0:
		return r.forget(ctx, item, m.Prepared && a.Asked.IsZero())
	case w == nil && m.ID != "" && m.Prepared && now.Sub(a.Asked) >= askAgain:
		return r.ask(ctx, item)
	case w == nil:
		return later(never)
	case !m.Prepared:
		return later(now.Add(min(max(now.Sub(m.Created)/4, lookSoon), lookLatest)))
	case m.ReplicaOf() != "":
		return r.move(ctx, item, m)
	case w.From.IsZero() && now.Sub(a.Asked) >= askAgain:
		return r.ask(ctx, item)
	case w.From.IsZero():
		return later(a.Asked.Add(askAgain))
	case a.Base != "":
		return r.look(ctx, item, a, all)
	case len(bases(all, a.Instance, w.ID)) == 0:
		return r.base(ctx, c, item, m)
	}
	return later(never)
}

// step decides over an archive that is still due as the item says, when it is due next and what else is written.
func (r *Recovery) step(ctx context.Context, item due.Item, decide func(etcdschema.Snapshot, *etcdschema.Archive) (time.Time, []etcdschema.Op, error)) error {
	key := etcdschema.ArchiveKey(item.Project, item.ID)
	return due.Decide(ctx, r.Control.Store, item, key, dueAt, func(s etcdschema.Snapshot, one *etcdschema.Archive) ([]etcdschema.Op, error) {
		at, ops, err := decide(s, one)
		return append(ops, plan.PutArchive(*one, at, r.Control.Now())...), err
	})
}

func dueAt(one etcdschema.Archive) time.Time { return one.Due }

// drop takes away the key of an archive that is gone, or is due at another time.
func (r *Recovery) drop(ctx context.Context, item due.Item) error {
	return due.Forget(ctx, r.Control.Store, item, plan.DueArchive, etcdschema.ArchiveKey(item.Project, item.ID), dueAt)
}

// ask asks the guest to ship for the window that is open, or to end it. What has made a gap is told.
func (r *Recovery) ask(ctx context.Context, item due.Item) error {
	return r.step(ctx, item, func(s etcdschema.Snapshot, a *etcdschema.Archive) (at time.Time, ops []etcdschema.Op, err error) {
		now := r.Control.Now().UTC()
		first := a.Asked.IsZero()
		if ops, err = plan.AskToShip(s, r.Control.Keys, r.Control.Signer, a, now); err != nil {
			return at, nil, err
		}
		if a.Open() != nil || len(a.Windows) == 0 {
			at = now.Add(askAgain)
		}
		if n := len(a.Windows); first && a.Open() != nil && n > 1 && a.Windows[n-2].Closed != "" {
			told, err := r.tell(s, *a, "status", "The log of the instance goes on with a gap, and a new base backup is made: "+a.Windows[n-2].Closed)
			return at, append(ops, told...), err
		}
		return at, ops, nil
	})
}

// base asks for a backup on which the log of the open window is replayed. An instance that cannot make one now is waited for.
func (r *Recovery) base(ctx context.Context, c control.Caller, item due.Item, m lifecycle.Member) error {
	now := r.Control.Now().UTC()
	req := control.BackupRequest{
		Name: "point in time " + now.Format("2006-01-02 15:04"), Description: "base backup for point in time recovery", Instance: m.ID,
	}
	if len(m.Schedules) > 0 { // whose retention it has then
		req.Schedule = m.Schedules[0]
	}
	_, err := r.Control.NewBackup(ctx, c, req, func(p *plan.Plan, b etcdschema.Backup) error {
		rec, err := etcdschema.Read(p.Snap, etcdschema.ArchiveKey(item.Project, item.ID))
		if err != nil {
			return err
		}
		a := rec.Value
		if w := a.Open(); !rec.Found || !a.Due.Equal(item.At) || w == nil || b.Log == nil || b.Log.Window != w.ID {
			return due.ErrBefore
		}
		a.Base = b.BackupID
		p.Put(plan.PutArchive(a, now.Add(lookSoon), now)...)
		return nil
	})
	why := fault.Refusal(err)
	if why == nil || errors.Is(err, due.ErrBefore) || ctx.Err() != nil {
		return err
	}
	if why.Kind == fault.OverLimit {
		return r.failed(ctx, item, why.Message)
	}
	return r.step(ctx, item, func(etcdschema.Snapshot, *etcdschema.Archive) (time.Time, []etcdschema.Op, error) {
		return now.Add(lookSoon * 5), nil, nil
	})
}

// look looks how the base backup has ended.
func (r *Recovery) look(ctx context.Context, item due.Item, a etcdschema.Archive, all []etcdschema.Backup) error {
	i := slices.IndexFunc(all, func(b etcdschema.Backup) bool { return b.BackupID == a.Base })
	switch {
	case i < 0:
		return r.failed(ctx, item, "it was deleted")
	case all[i].Running():
		now := r.Control.Now()
		return r.step(ctx, item, func(etcdschema.Snapshot, *etcdschema.Archive) (time.Time, []etcdschema.Op, error) {
			return now.Add(min(max(now.Sub(all[i].Created)/4, lookSoon), lookLatest)), nil, nil
		})
	case all[i].Status != etcdschema.BackupCompleted:
		return r.failed(ctx, item, all[i].Fault)
	}
	return r.step(ctx, item, func(_ etcdschema.Snapshot, a *etcdschema.Archive) (time.Time, []etcdschema.Op, error) {
		a.Base, a.Tries = "", 0
		return never, nil, nil
	})
}

// failed tells that there is no base backup yet, and has it tried again.
func (r *Recovery) failed(ctx context.Context, item due.Item, reason string) error {
	return r.step(ctx, item, func(s etcdschema.Snapshot, a *etcdschema.Archive) (time.Time, []etcdschema.Op, error) {
		a.Base = ""
		a.Tries++
		told, err := r.tell(s, *a, "fault", fmt.Sprintf("The base backup for point in time recovery could not be made, and is tried again: %s", reason))
		return r.Control.Now().Add(min(askAgain<<min(a.Tries-1, 10), triesLatest)), told, err
	})
}

// move has the log of the set's source be shipped instead, as it was of the instance that was the source before.
func (r *Recovery) move(ctx context.Context, item due.Item, m lifecycle.Member) error {
	from, to := etcdschema.InstanceKey(m.Project, m.ID), etcdschema.InstanceKey(m.Project, m.ReplicaOf())
	_, err := r.Control.Store.Update(ctx, []etcdschema.Ref{from, to}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		was, err := etcdschema.Read(s, from)
		if err != nil {
			return nil, err
		}
		is, err := etcdschema.Read(s, to)
		if err != nil || !was.Found || was.Value.RPO == 0 {
			return nil, err
		}
		ops, err := r.set(s, was.Value, 0, "")
		if err != nil || !is.Found || is.Value.RPO > 0 || is.Value.SetID != was.Value.SetID {
			return ops, err
		}
		more, err := r.set(s.After(ops...), is.Value, was.Value.RPO, "")
		return append(ops, more...), err
	})
	return err
}

// tell adds a line to the timeline of an archive's instance.
func (r *Recovery) tell(s etcdschema.Snapshot, a etcdschema.Archive, kind, message string) ([]etcdschema.Op, error) {
	key := etcdschema.InstanceKey(a.Project, a.Instance)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return nil, err
	}
	ops := plan.Tell(&rec.Value, etcdschema.Event{At: r.Control.Now().UTC(), Kind: kind, Message: message})
	return append(ops, etcdschema.Put(key, rec.Value)), nil
}
