package plan

import (
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// The kinds of keys in the due index.
const (
	DueInstance   = "instance"    // the deadline of an instance's operation
	DueSet        = "set"         // that of a set's
	DueBackup     = "backup"      // the removal of a backup's segments
	DueVerify     = "verify"      // the verification of a backup, or when another gateway takes it over
	DueSchedule   = "schedule"    // what a schedule does next
	DueArchive    = "archive"     // what has to be done about the log that is shipped of an instance
	DueDrill      = "drill"       // what an instance's drill does next
	DueModule     = "module"      // the next instances to which a module is applied again
	DueObjectives = "objectives"  // whether what was asked of an instance's recovery is missed
	DueUpkeep     = "maintenance" // the maintenance window of what an operator has asked for
	DueLogs       = "logs"        // the removal of what was published of a removed instance's logs; the key is all that is known of it
)

// MoveDue has a record whose key in the due index is of the time has, zero for none, be due at the time at, zero for never. It returns the
// time of the key that the record has then, which the record must say, and the changes. A key may be early, never late: one that is
// before its time stays until it comes due, so that what moves on again and again costs nothing.
func MoveDue(kind, project, id string, has, at, now time.Time) (time.Time, []etcdschema.Op) {
	if !at.IsZero() {
		if at = etcdschema.DueTime(at); has.After(now) && !has.After(at) {
			at = has
		}
	}
	if at.Equal(has) {
		return has, nil
	}
	var ops []etcdschema.Op
	if !has.IsZero() {
		ops = append(ops, etcdschema.Delete(etcdschema.DueKey(kind, has, project, id)))
	}
	if !at.IsZero() {
		ops = append(ops, etcdschema.Put(etcdschema.DueKey(kind, at, project, id), etcdschema.Due{}))
	}
	return at, ops
}

// wake has a record of which something can be due be looked at now, if there is one. put writes it.
func wake[T any](s etcdschema.Snapshot, key etcdschema.Key[T], put func(rec T, at, now time.Time) []etcdschema.Op, now time.Time) ([]etcdschema.Op, error) {
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return nil, err
	}
	return put(rec.Value, now, now), nil
}

// Due has an instance be due when its operation is, and remember that.
func Due(in *etcdschema.Instance, now time.Time) (ops []etcdschema.Op) {
	var at time.Time
	if in.Operation != nil {
		at = in.Operation.Deadline
	}
	in.Due, ops = MoveDue(DueInstance, in.Project, in.ID, in.Due, at, now)
	return ops
}

// DueRemoval has the segments of a backup be removed at a time, zero for never, and its record remember that.
func DueRemoval(b *etcdschema.Backup, at, now time.Time) (ops []etcdschema.Op) {
	b.Due, ops = MoveDue(DueBackup, b.Project, b.BackupID, b.Due, at, now)
	return ops
}

// DueVerification has a backup be verified at a time, zero for never, and its record remember that.
func DueVerification(b *etcdschema.Backup, at, now time.Time) (ops []etcdschema.Op) {
	if b.Verification != nil {
		b.Verification.Due, ops = MoveDue(DueVerify, b.Project, b.BackupID, b.Verification.Due, at, now)
	}
	return ops
}

// SetDue has a set be due when its operation is, or when it is to be looked at by its policy, and remember that.
func SetDue(set *etcdschema.Set, now time.Time) (ops []etcdschema.Op) {
	at := lifecycle.LookAt(*set)
	if op := set.Operation; op != nil && (at.IsZero() || op.Deadline.Before(at)) {
		at = op.Deadline
	}
	set.Due, ops = MoveDue(DueSet, set.Project, set.ID, set.Due, at, now)
	return ops
}

// DueAt has a schedule be due at a time, zero for never, and remember that.
func DueAt(sch *etcdschema.Schedule, at, now time.Time) (ops []etcdschema.Op) {
	sch.Due, ops = MoveDue(DueSchedule, sch.Project, sch.ID, sch.Due, at, now)
	return ops
}
