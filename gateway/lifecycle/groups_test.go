package lifecycle_test

import (
	"slices"
	"testing"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// TestOutdate changes the values of a group at each step of an instance that has it: when the operation has ended the instance
// takes a restart, unless it is still to be given its values for the first time.
func TestOutdate(t *testing.T) {
	first := []lifecycle.Step{lifecycle.Launching, lifecycle.Enrolling, lifecycle.Snapshotting}
	for _, step := range lifecycle.Steps() {
		in := at(step)
		in.Configuration = "group"
		if step == lifecycle.Configuring {
			in.Operation.Target = &etcdschema.Target{Configuration: &in.Configuration}
		}
		out, changed := lifecycle.Outdate(in, "group")
		if changed == slices.Contains(first, step) {
			t.Errorf("%q: changed is %t", step, changed)
		}
		if _, other := lifecycle.Outdate(in, "other"); other {
			t.Errorf("%q: another group changes it", step)
		}
		if out.Operation == nil {
			if !out.RestartRequired {
				t.Errorf("%q: no restart required", step)
			}
			continue
		}
		if in.Operation.Outdated {
			t.Errorf("%q: the record that was read is changed", step)
		}
		reset, err := lifecycle.Decide(member(out), event(lifecycle.ResetStatus, out), start, ids())
		if err != nil || reset.Instance.Operation == nil && reset.Instance.RestartRequired != changed {
			t.Errorf("%q, reset: restart required %t, %v; want %t", step, reset.Instance.RestartRequired, err, changed)
		}
		done, err := lifecycle.Decide(member(out), event(lifecycle.Done, out), start, ids())
		if err != nil || done.Instance.Operation == nil && !done.Gone && done.Instance.RestartRequired != changed {
			t.Errorf("%q, done: restart required %t, %v; want %t", step, done.Instance.RestartRequired, err, changed)
		}
	}
}

// TestOutdateBesideDetach: an instance that ends up without the group needs none of its values.
func TestOutdateBesideDetach(t *testing.T) {
	in := at(lifecycle.Configuring)
	in.Configuration = "group"
	out, changed := lifecycle.Outdate(in, "group")
	if !changed {
		t.Fatal("not changed")
	}
	if d, err := lifecycle.Decide(member(out), event(lifecycle.Done, out), start, ids()); err != nil || d.Instance.RestartRequired || d.Instance.Configuration != "" {
		t.Errorf("%+v, %v", d.Instance, err)
	}
	if d, err := lifecycle.Decide(member(out), event(lifecycle.Failed, out), start, ids()); err != nil || !d.Instance.RestartRequired {
		t.Errorf("%+v, %v", d.Instance, err)
	}
}
