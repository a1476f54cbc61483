package lifecycle

import (
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
)

// Groups are the configuration groups that an instance refers to: the one that it has, and the one that it is about to have.
func Groups(in etcdschema.Instance) []string {
	ids := []string{in.Configuration}
	if op := in.Operation; op != nil && op.Target != nil && op.Target.Configuration != nil {
		ids = append(ids, *op.Target.Configuration)
	}
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == "" })
}

// Outdate returns the instance after a group's values have changed that its guest could not be told. It reports whether the
// record has to be written. A restart brings the values, but for one that is under way: that may have been given the old ones.
// So does a create once its guest was asked.
func Outdate(in etcdschema.Instance, group string) (etcdschema.Instance, bool) {
	if !slices.Contains(Groups(in), group) || slices.Contains([]Step{Launching, Enrolling, Snapshotting}, StepOf(in)) {
		return in, false
	}
	if in.Operation == nil {
		in.RestartRequired = true
		return in, true
	}
	op := *in.Operation
	op.Outdated = true
	in.Operation = &op
	return in, true
}

// outdated keeps in mind, at the end of an operation, that the values have changed while it went on.
func (d *decision) outdated() {
	if d.Instance.Operation.Outdated && d.Instance.Configuration != "" {
		d.Instance.RestartRequired = true
	}
}
