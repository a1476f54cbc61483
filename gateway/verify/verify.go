// Package verify reads backups where they lie, as a restore would, so that a damaged one is known before it is needed. What is to be
// verified stands in the due index: any gateway does it, and another one begins again when that gateway ends meanwhile.
package verify

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Verifier verifies the backups of all projects.
type Verifier struct {
	Control *control.Plane

	intact, damaged, unreadable atomic.Int64
}

const (
	// places is how many backups a gateway verifies at a time. Each takes the memory of a restore: an index, and three segments.
	places = 2
	// longest is how long the verification of a backup may take, whatever its size.
	longest = 24 * time.Hour
	// least is how long it may take in any case, and slowest how many bytes a second the store must give beyond that.
	least   = 10 * time.Minute
	slowest = 1 << 20
	// lease is how long an attempt counts as under way that says so no more, and sayAgain how often it does.
	lease    = time.Minute
	sayAgain = 5 * time.Second
	// tries is how often a store that cannot be read is tried, each time after a longer while.
	tries    = 5
	tryAgain = 20 * time.Second
)

var never time.Time

// Kind is what happens when a backup is to be verified.
func (v *Verifier) Kind() due.Kind {
	return due.Kind{Name: plan.DueVerify, Happen: v.happen, Places: places, Within: longest}
}

// Count is how many verifications have come to a result here.
func (v *Verifier) Count(result string) int64 { return v.counter(result).Load() }

func (v *Verifier) counter(result string) *atomic.Int64 {
	switch result {
	case etcdschema.VerifiedIntact:
		return &v.intact
	case etcdschema.VerifiedDamaged:
		return &v.damaged
	}
	return &v.unreadable
}

// Ask has a backup be verified with all that it builds on. One for which that was asked already is left as it is.
func (v *Verifier) Ask(ctx context.Context, c control.Caller, id string) (b etcdschema.Backup, err error) {
	if v.Control.Blobs == nil {
		return b, control.ErrNoStore
	}
	now := v.Control.Now().UTC()
	err = v.Control.ChangeBackup(ctx, c.Project, id, func(_ etcdschema.Snapshot, is *etcdschema.Backup) ([]etcdschema.Op, error) {
		switch {
		case is.Status != etcdschema.BackupCompleted:
			return nil, fault.Errorf(fault.Conflict, "Backup %s is not complete (%s): there is nothing to verify yet.", id, is.Status)
		case is.Verifying():
			b = *is
			return nil, nil
		}
		asked := etcdschema.Verification{}
		if is.Verification != nil {
			asked.Last = is.Verification.Last
		}
		is.Verification = &asked
		ops := plan.DueVerification(is, now, now)
		b = *is
		return ops, nil
	})
	return b, err
}

// Cancel ends the verification of a backup. What came of the last one stays.
func (v *Verifier) Cancel(ctx context.Context, c control.Caller, id string) error {
	return v.Control.ChangeBackup(ctx, c.Project, id, func(_ etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
		if !b.Verifying() {
			return nil, fault.Errorf(fault.Unprocessable, "Backup %s is not being verified any more.", id)
		}
		return v.ended(b), nil
	})
}

// ended takes a backup out of the due index; its last result stays.
func (v *Verifier) ended(b *etcdschema.Backup) []etcdschema.Op {
	ops := plan.DueVerification(b, never, v.Control.Now())
	b.Verification = &etcdschema.Verification{Last: b.Verification.Last}
	return ops
}
