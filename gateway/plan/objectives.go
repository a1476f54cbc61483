package plan

import (
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// PutObjectives writes what is asked of an instance's recovery, which is looked at anew at a time, zero for never.
func PutObjectives(o etcdschema.Objectives, at, now time.Time) (ops []etcdschema.Op) {
	o.Due, ops = MoveDue(DueObjectives, o.Project, o.Instance, o.Due, at, now)
	return append(ops, etcdschema.Put(etcdschema.ObjectivesKey(o.Project, o.Instance), o))
}

// WakeObjectives has it be looked at now whether what is asked of an instance's recovery is missed: something was measured, or the instance
// is gone.
func WakeObjectives(s etcdschema.Snapshot, project, instance string, now time.Time) ([]etcdschema.Op, error) {
	return wake(s, etcdschema.ObjectivesKey(project, instance), PutObjectives, now)
}
