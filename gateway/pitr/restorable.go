package pitr

import (
	"context"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Window is a time without a gap: to each moment of it one can go back.
type Window struct {
	etcdschema.LogWindow
	Bases []etcdschema.Backup // complete ones, the oldest first; one can go back to when that was complete
	// Precision, in seconds, is for how long after a time what was committed may be there, too, as the definition of the newest base says.
	Precision float64
}

// From is the earliest moment.
func (w Window) From() time.Time { return w.Bases[0].Log.At }

// holds reports whether one can go back to a time.
func (w Window) holds(t time.Time) bool { return !t.Before(w.From()) && !t.After(w.Until) }

// Restorable is to what one can go back of an instance.
type Restorable struct {
	Archive etcdschema.Archive
	Windows []Window // the oldest first
}

// Of reads to what one can go back of an instance, which may be gone.
func (r *Recovery) Of(ctx context.Context, c control.Caller, instance string) (found Restorable, err error) {
	rec, err := etcdschema.Get(ctx, r.Control.Store, etcdschema.ArchiveKey(c.Project, instance))
	if fault.IsNotFound(err) {
		_, err = r.Control.Instance(ctx, c, instance) // that nothing was shipped is no error
		return found, err
	}
	if err != nil {
		return found, err
	}
	found.Archive = rec.Value
	all, err := r.Control.Backups(ctx, etcdschema.Backups(c.Project))
	if err != nil {
		return found, err
	}
	catalogue, err := r.Control.Catalogue(ctx)
	if err != nil {
		return found, err
	}
	for _, w := range rec.Value.Windows {
		there := slices.DeleteFunc(bases(all, instance, w.ID), etcdschema.Backup.Running)
		if len(there) > 0 {
			slices.SortFunc(there, func(a, b etcdschema.Backup) int { return a.Log.At.Compare(b.Log.At) })
			if newest := there[len(there)-1].Log.At; newest.After(w.Until) { // nothing was written since, or it is not shipped yet
				w.Until = newest
			}
			base := there[len(there)-1]
			v, _ := catalogue.FindVersion(base.Datastore, base.Version)
			one := Window{LogWindow: w, Bases: there}
			if at := slices.IndexFunc(v.Server.BackupStrategies, func(s datastores.Strategy) bool { return s.StrategyName == base.Strategy }); at >= 0 {
				one.Precision = v.Server.BackupStrategies[at].Precision
			}
			found.Windows = append(found.Windows, one)
		}
	}
	return found, nil
}

// Resolve finds the backup and the log for a create that begins with what another instance was at a time or a position.
func (r *Recovery) Resolve(ctx context.Context, c control.Caller, point *control.RestorePoint) error {
	if (point.Time == "") == (point.Position == "") {
		return fault.Errorf(fault.BadRequest, "Validation error: restorePoint takes instance_id with either a time or a position.")
	}
	instance := control.LastPart(point.Instance)
	if point.Position != "" {
		return r.position(ctx, c, instance, point)
	}
	at, err := time.Parse(time.RFC3339Nano, point.Time)
	switch {
	case err != nil:
		return fault.Errorf(fault.BadRequest, "Validation error: restorePoint['time'] %q is not like 2026-11-29T12:00:00.5Z.", point.Time[:min(len(point.Time), 40)])
	case point.BackupRef != "":
		return fault.Errorf(fault.BadRequest, "Validation error: restorePoint['backupRef'] goes with a position, not with a time, which says itself which backup to begin with.")
	case at.After(r.Control.Now()):
		return fault.Errorf(fault.BadRequest, "Validation error: restorePoint['time'] %s is in the future.", point.Time)
	}
	found, err := r.Of(ctx, c, instance)
	if err == nil && found.behind(at) {
		if err = r.flush(ctx, c, instance); err == nil {
			found, err = r.Of(ctx, c, instance)
		}
	}
	if err != nil {
		return err
	}
	for _, w := range found.Windows {
		if !w.holds(at) {
			continue
		}
		base := w.Bases[0]
		for _, b := range w.Bases {
			if !b.Log.At.After(at) {
				base = b
			}
		}
		w.to(point, instance, base)
		point.Replay.Time = at.UTC()
		return nil
	}
	return fault.Errorf(fault.Unprocessable, "Instance %s cannot be restored to %s: GET instances/%[1]s/restorable lists to what it can.", instance, point.Time)
}

// to has a create begin with a backup and the log after it.
func (w Window) to(point *control.RestorePoint, instance string, base etcdschema.Backup) {
	point.BackupRef = base.BackupID
	point.Replay = &etcdschema.Replay{Window: w.ID, Instance: instance, First: base.Log.After + 1, Last: w.Last}
}

// position finds the log of a position, whose order only the engine knows: it begins with the backup that is named, else with the oldest of
// the newest window.
func (r *Recovery) position(ctx context.Context, c control.Caller, instance string, point *control.RestorePoint) error {
	if len(point.Position) > datastores.MaxPosition {
		return fault.Errorf(fault.BadRequest, "Validation error: restorePoint['position'] has more than %d bytes.", datastores.MaxPosition)
	}
	found, err := r.Of(ctx, c, instance)
	if err == nil && found.Archive.Open() != nil {
		if err = r.flush(ctx, c, instance); err == nil {
			found, err = r.Of(ctx, c, instance)
		}
	}
	if err != nil {
		return err
	}
	id := control.LastPart(point.BackupRef)
	for _, w := range slices.Backward(found.Windows) {
		i := 0
		if id != "" {
			if i = slices.IndexFunc(w.Bases, func(b etcdschema.Backup) bool { return b.BackupID == id }); i < 0 {
				continue
			}
		}
		w.to(point, instance, w.Bases[i])
		point.Replay.Position = point.Position
		return nil
	}
	return fault.Errorf(fault.Unprocessable, "Instance %s has no log that begins with such a backup: GET instances/%[1]s/restorable lists what there is.", instance)
}

// behind reports whether a time may lie in the open window, but is not known to be shipped.
func (f Restorable) behind(at time.Time) bool {
	open, n := f.Archive.Open(), len(f.Windows)
	return open != nil && n > 0 && f.Windows[n-1].ID == open.ID && at.After(f.Windows[n-1].Until)
}

// flush has the guest ship what it has not shipped yet, and writes down how far that is.
func (r *Recovery) flush(ctx context.Context, c control.Caller, instance string) error {
	var shipped datastores.Shipped
	if err := r.Control.CallInstance(ctx, c, instance, true, datastores.MethodFlushLog, nil, &shipped); err != nil {
		return err
	}
	key := etcdschema.InstanceKey(c.Project, instance)
	_, err := r.Control.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		in, err := fault.Found(rec, err, "Instance", instance)
		if err != nil {
			return nil, err
		}
		return plan.Shipped(s, in, &shipped, r.Control.Now().UTC())
	})
	return err
}
