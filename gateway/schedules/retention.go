package schedules

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
)

// chain is the backup on which the next one of an incremental schedule may build: the newest one of its own that is good; the zero one: a full
// one is due.
func (s *Schedules) chain(ctx context.Context, sch etcdschema.Schedule) (none etcdschema.Backup, err error) {
	if sch.Kind != etcdschema.ScheduleIncremental {
		return none, nil
	}
	all, err := s.Control.Backups(ctx, etcdschema.Backups(sch.Project))
	if err != nil {
		return none, err
	}
	good := goodOnes(all, sch.ID)
	if len(good) == 0 || len(ancestry(all, good[0])) >= sch.FullEvery {
		return none, nil
	}
	return good[0], nil
}

// goodOnes are the complete backups of a schedule, the newest first.
func goodOnes(all []etcdschema.Backup, schedule string) (good []etcdschema.Backup) {
	for _, b := range all {
		if b.Schedule == schedule && b.Status == etcdschema.BackupCompleted {
			good = append(good, b)
		}
	}
	slices.SortStableFunc(good, func(a, b etcdschema.Backup) int { return b.Created.Compare(a.Created) })
	return good
}

// ancestry is a backup with those that it needs, itself first.
func ancestry(all []etcdschema.Backup, b etcdschema.Backup) []etcdschema.Backup {
	chain := []etcdschema.Backup{b}
	for b.Parent != "" && len(chain) <= len(all) {
		i := slices.IndexFunc(all, func(p etcdschema.Backup) bool { return p.BackupID == b.Parent })
		if i < 0 {
			break
		}
		b = all[i]
		chain = append(chain, b)
	}
	return chain
}

// Expired are the backups of a schedule that need not be kept, without those that go with others of them. Keep and KeepDays both hold; kept
// whatever they say are the last good one, what a kept one needs, and what is not the schedule's. A failed one goes when all kept are younger.
func Expired(sch etcdschema.Schedule, all []etcdschema.Backup, now time.Time) (ids []string) {
	good := goodOnes(all, sch.ID)
	if len(good) == 0 || sch.Keep == 0 && sch.KeepDays == 0 {
		return nil
	}
	kept, oldest := map[string]bool{}, now
	keep := func(b etcdschema.Backup) {
		for _, needed := range ancestry(all, b) {
			kept[needed.BackupID] = true
		}
	}
	for i, b := range good {
		tooMany := sch.Keep > 0 && i >= sch.Keep
		tooOld := sch.KeepDays > 0 && now.Sub(b.Created) > time.Duration(sch.KeepDays)*24*time.Hour
		if i == 0 || !tooMany && !tooOld {
			keep(b)
			oldest = b.Created
		}
	}
	for _, b := range all {
		failed := b.Status == etcdschema.BackupFailed && b.Created.Before(oldest)
		if b.Schedule != sch.ID || b.Status != etcdschema.BackupCompleted && !failed {
			keep(b)
		}
	}
	for _, b := range all {
		if !kept[b.BackupID] && (b.Parent == "" || kept[b.Parent]) {
			ids = append(ids, b.BackupID)
		}
	}
	return ids
}

// expire removes what need not be kept. What is being restored stays until another run.
func (s *Schedules) expire(ctx context.Context, sch etcdschema.Schedule) error {
	all, err := s.Control.Backups(ctx, etcdschema.Backups(sch.Project))
	if err != nil {
		return err
	}
	errs := []error{}
	for _, id := range Expired(sch, all, s.Control.Now()) {
		err := s.Control.RemoveBackup(ctx, control.Caller{Project: sch.Project}, id)
		if err != nil && !fault.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
