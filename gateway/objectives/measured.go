package objectives

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// By what something was measured.
const (
	ByLog     = "log"     // that is shipped
	ByBackup  = "backup"  // the newest good one
	ByDrill   = "drill"   // that has passed
	ByRestore = "restore" // an instance that was made of a backup
)

// Recovery is what is known of having an instance again. Nil: it was never measured.
type Recovery struct {
	Asked etcdschema.Objectives
	RPO   *Point
	RTO   *Time
}

// Point is how much would be lost with an instance.
type Point struct {
	Seconds float64
	At      time.Time // when it was so
	By      string    // ByLog or ByBackup
	Backup  string    // id of that backup
	// Until is up to when what was written is kept, as far as anybody knows. Current: it is up to now, with the time that the shipping takes.
	Until   time.Time
	Current bool
}

// Time is how long it took to have an instance again, the last time that somebody has tried.
type Time struct {
	Seconds float64
	At      time.Time
	By      string // ByDrill or ByRestore
	ID      string // of the drill, or the backup
}

// Records are what stands in etcd of having an instance again, beside its backups.
type Records struct {
	asked   etcdschema.Objectives
	archive etcdschema.Archive
	drills  etcdschema.Drills
	backups int // of its project
}

// Refs name the records of an instance, so that they can be read together with it.
func Refs(project, id string) []etcdschema.Ref {
	return []etcdschema.Ref{etcdschema.ObjectivesKey(project, id), etcdschema.ArchiveKey(project, id), etcdschema.DrillsKey(project, id), etcdschema.UsageKey(project)}
}

// Read reads the records that [Refs] name.
func Read(s etcdschema.Snapshot, project, id string) (Records, error) {
	asked, err1 := etcdschema.Read(s, etcdschema.ObjectivesKey(project, id))
	archive, err2 := etcdschema.Read(s, etcdschema.ArchiveKey(project, id))
	drills, err3 := etcdschema.Read(s, etcdschema.DrillsKey(project, id))
	usage, err4 := etcdschema.Read(s, etcdschema.UsageKey(project))
	return Records{asked.Value, archive.Value, drills.Value, usage.Value.Backups}, errors.Join(err1, err2, err3, err4)
}

// Of reads what is known of an instance.
func (o *Objectives) Of(ctx context.Context, m lifecycle.Member) (Recovery, error) {
	var records Records
	_, err := o.Control.Store.Look(ctx, 0, Refs(m.Project, m.ID), func(s etcdschema.Snapshot) (err error) {
		records, err = Read(s, m.Project, m.ID)
		return err
	})
	if err != nil {
		return Recovery{}, err
	}
	return o.Measure(ctx, m, records)
}

// Measure says what is known of an instance with these records. Backups are read when its project has some.
func (o *Objectives) Measure(ctx context.Context, m lifecycle.Member, records Records) (r Recovery, err error) {
	cp := o.Control
	r.Asked = records.asked
	if !m.Prepared {
		return r, nil
	}
	var all []etcdschema.Backup
	if records.backups > 0 {
		if all, err = cp.Backups(ctx, etcdschema.Backups(m.Project)); err != nil {
			return r, err
		}
	}
	all = slices.DeleteFunc(all, func(b etcdschema.Backup) bool { return !b.Of(m.Instance) || !good(b) })
	var seen control.Contact
	if len(all) > 0 && records.archive.Open() != nil {
		if seen, err = cp.Contact(ctx, m.ID); err != nil {
			return r, err
		}
	}
	r.RPO, r.RTO = point(records.archive, all, seen, cp.Now().UTC()), restoring(records.drills, all)
	return r, nil
}

// good reports whether a backup can be restored, as far as is known.
func good(b etcdschema.Backup) bool {
	damaged := b.Verification != nil && b.Verification.Last != nil && b.Verification.Last.Result == etcdschema.VerifiedDamaged
	return b.Status == etcdschema.BackupCompleted && !b.Snapshot && !damaged
}

// point is how much would be lost of an instance with these good backups. A backup holds what was written before it began.
func point(a etcdschema.Archive, all []etcdschema.Backup, seen control.Contact, now time.Time) *Point {
	var best *Point
	for _, b := range all {
		if best == nil || b.Created.After(best.Until) {
			best = &Point{Seconds: now.Sub(b.Created).Seconds(), At: now, By: ByBackup, Backup: b.BackupID, Until: b.Created}
		}
	}
	w := a.Open()
	if w == nil || w.From.IsZero() || !slices.ContainsFunc(all, func(b etcdschema.Backup) bool {
		return b.Log != nil && b.Log.Window == w.ID && !b.Log.At.IsZero()
	}) {
		return best
	}
	// A guest tells of a part that it has shipped, and of being stuck: from one that is there and is not stuck, nothing is missing.
	if seen.Connected && w.Stuck.IsZero() {
		told, behind := w.Told, w.Behind
		if told.IsZero() {
			told, behind = now, seconds(a.RPO) // nothing was written yet
		}
		return &Point{Seconds: behind.Seconds(), At: told, By: ByLog, Until: now, Current: true}
	}
	until, lost := w.Until, w.Stuck
	if lost.IsZero() {
		lost = seen.Since
	}
	if shipped := lost.Add(-seconds(a.RPO)); shipped.After(until) { // all but what was waiting
		until = shipped
	}
	if best != nil && !until.After(best.Until) {
		return best
	}
	return &Point{Seconds: max(now.Sub(until), 0).Seconds(), At: now, By: ByLog, Until: until}
}

// restoring is how long the last restore took that went well, of a drill or another one.
func restoring(d etcdschema.Drills, all []etcdschema.Backup) *Time {
	var last *Time
	for _, one := range d.Past {
		if one.Result == etcdschema.DrillPassed {
			last = &Time{Seconds: one.Restoring().Seconds(), At: one.Restored, By: ByDrill, ID: one.ID}
			break
		}
	}
	for _, b := range all {
		if r := b.Restored; r != nil && (last == nil || r.At.After(last.At)) {
			last = &Time{Seconds: r.Seconds, At: r.At, By: ByRestore, ID: b.BackupID}
		}
	}
	return last
}
