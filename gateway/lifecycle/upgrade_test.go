package lifecycle_test

import (
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// TestUpgradeIntoAnotherImage: the server is stopped while the image that it runs in is exchanged. Whatever fails until the data
// was touched, the former version runs again, in the former image.
func TestUpgradeIntoAnotherImage(t *testing.T) {
	ask := event(lifecycle.AskUpgrade, etcdschema.Instance{})
	ask.Target = &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2", Image: "newer"}}
	invalid := &agentpoll.Error{Kind: agentpoll.Invalid, Message: "it does not fit"}
	type step struct {
		event lifecycle.EventType
		want  lifecycle.Step
	}
	begin := []step{{lifecycle.AskUpgrade, lifecycle.Stopping}}
	back := []step{{lifecycle.Done, lifecycle.Starting}, {lifecycle.Done, lifecycle.Idle}}
	for name, c := range map[string]struct {
		steps          []step
		image, version string
		fault          bool
	}{
		"through":                  {append(begin, step{lifecycle.Done, lifecycle.Equipping}, step{lifecycle.Done, lifecycle.Upgrading}, step{lifecycle.Done, lifecycle.Idle}), "newer", "2", false},
		"the server does not stop": {append(begin, step{lifecycle.Failed, lifecycle.Starting}, step{lifecycle.Done, lifecycle.Idle}), "older", "1", true},
		"the image is not there":   {append(append(begin, step{lifecycle.Done, lifecycle.Equipping}, step{lifecycle.Failed, lifecycle.Reverting}), back...), "older", "1", true},
		"the data does not fit":    {append(append(begin, step{lifecycle.Done, lifecycle.Equipping}, step{lifecycle.Done, lifecycle.Upgrading}, step{lifecycle.Failed, lifecycle.Reverting}), back...), "older", "1", true},
	} {
		in := at(lifecycle.Idle)
		in.SetID, in.Version, in.Image = "", "1", "older"
		for i, s := range c.steps {
			e := event(s.event, in)
			if s.event == lifecycle.AskUpgrade {
				e = ask
			}
			if s.event == lifecycle.Failed {
				e.Error = invalid
			}
			d, err := lifecycle.Decide(member(in), e, start, ids())
			if err != nil || lifecycle.StepOf(d.Instance) != s.want {
				t.Fatalf("%s, event %d: step %q (err %v), want %q", name, i, lifecycle.StepOf(d.Instance), err, s.want)
			}
			in = d.Instance
		}
		if in.Image != c.image || in.Version != c.version || (in.Fault != nil) != c.fault || in.Service.Service != datastores.StatusHealthy {
			t.Errorf("%s: image %q, version %q, fault %+v, service %s", name, in.Image, in.Version, in.Fault, in.Service.Service)
		}
	}
	if ask.Target.Version.FormerImage != "" {
		t.Error("the target that was asked for is changed")
	}
}
