package lifecycle_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// A replica that does not follow is ACTIVE but not HEALTHY, says so once, and is not promoted before it follows again.
func TestAReplicaThatDoesNotFollow(t *testing.T) {
	c := newCluster(2)
	report := func(f datastores.Following) (told []string) {
		t.Helper()
		before := c.member("m1")
		status := datastores.Status{Service: datastores.StatusHealthy, Replication: &f}
		d, err := lifecycle.Decide(before, lifecycle.Event{Type: lifecycle.Reported, Status: status}, c.now, c.newID)
		if err != nil {
			t.Fatal(err)
		}
		c.records["m1"] = d.Instance
		for _, e := range d.Events {
			told = append(told, e.Message)
		}
		return told
	}
	well := datastores.Following{Role: datastores.RoleReplica, Follows: true}
	if told := report(well); len(told) > 0 {
		t.Errorf("a replica that follows is told of: %s", told)
	}
	for why, f := range map[string]datastores.Following{
		"a row is missing":          {Role: datastores.RoleReplica, Why: "a row is missing"},
		"its server follows nobody": {Role: datastores.RoleSource},
	} {
		if told := strings.Join(report(f), ""); !strings.Contains(told, why) {
			t.Errorf("the timeline says %q", told)
		}
		if told := report(f); len(told) > 0 {
			t.Errorf("it is told twice: %s", told)
		}
		in := c.member("m1")
		if lifecycle.Status(in) != "ACTIVE" || lifecycle.OperatingStatus(in) != "RUNNING" || !strings.Contains(lifecycle.Next(in), why) {
			t.Errorf("it is %s, %s: %s", lifecycle.Status(in), lifecycle.OperatingStatus(in), lifecycle.Next(in))
		}
		var refused *lifecycle.Conflict
		if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); !errors.As(err, &refused) || !strings.Contains(refused.Message, why) {
			t.Errorf("its promotion: %v", err)
		}
		if len(c.pending) > 0 {
			t.Errorf("before a promotion is refused, %+v is asked for", c.pending)
		}
		if told := strings.Join(report(well), ""); !strings.Contains(told, "again") || lifecycle.OperatingStatus(c.member("m1")) != "HEALTHY" {
			t.Errorf("when it follows again the timeline says %q", told)
		}
	}
	if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); err != nil {
		t.Errorf("the promotion of one that follows: %v", err)
	}
}
