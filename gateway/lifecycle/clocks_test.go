package lifecycle_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// clocks is a history that gateways decide whose clocks disagree, and jump.
type clocks struct {
	failovers
	real  time.Time
	wrong [3]time.Duration // by gateway
	ahead time.Time        // as far as any clock was
}

// TestHistoriesOfClocks is TestHistoriesOfFailovers with three gateways, one of which decides at a time, and whose clocks jump by seconds to weeks, ahead and back: no two servers of a set can
// ever acknowledge, who becomes the source has all that was acknowledged, and no command is lost. When the time has come that was the latest of any clock everything comes to rest.
func TestHistoriesOfClocks(t *testing.T) {
	histories(t, func(t *rapid.T) world {
		h := newHistory(t)
		h.setPolicy(false)
		return &clocks{failovers: failovers{h}, real: h.now, ahead: h.now}
	})
}

func (c *clocks) pass(d time.Duration) {
	c.real = c.real.Add(d)
	if rapid.IntRange(0, 4).Draw(c.T, "a clock is set") == 0 {
		by := rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour}).Draw(c.T, "by")
		c.wrong[rapid.IntRange(0, 2).Draw(c.T, "of")] = by * time.Duration(rapid.SampledFrom([]int{1, -1}).Draw(c.T, "ahead or back"))
	}
	c.now = c.real.Add(c.wrong[rapid.IntRange(0, 2).Draw(c.T, "gateway")])
	if c.now.After(c.ahead) {
		c.ahead = c.now
	}
}

func (c *clocks) rest() {
	c.now = c.ahead
	c.failovers.rest()
}

// TestTimesThatAreStillToCome: what a gateway has written whose clock was ahead delays no failover by more than the grace period, by the clock of the one that looks.
func TestTimesThatAreStillToCome(t *testing.T) {
	for name, spoil := range map[string]func(c *cluster, look *lifecycle.Event, later time.Time){
		"since when its guest is away": func(_ *cluster, look *lifecycle.Event, later time.Time) {
			look.Gone = map[string]time.Time{"m0": later}
		},
		"since when its server is down": func(c *cluster, _ *lifecycle.Event, later time.Time) {
			c.set.Failover.Down = later
			in := c.records["m0"]
			in.Service.Service = datastores.StatusCrashed
			c.records["m0"] = in
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(2)
			c.set.Failover = &etcdschema.Failover{Acks: 1, Grace: 30, Waits: true, Candidates: []string{"m1", "m2"}}
			look := lifecycle.Event{Type: lifecycle.AskFailover}
			spoil(c, &look, c.now.Add(48*time.Hour))
			for _, after := range []time.Duration{0, 29 * time.Second} {
				c.now = c.now.Add(after)
				if err := c.apply("set", look); err != nil || c.set.Operation != nil {
					t.Fatalf("before the grace period: %v, %+v", err, c.set.Operation)
				}
			}
			c.now = c.now.Add(time.Second)
			if err := c.apply("set", look); err != nil || lifecycle.SetStepOf(c.set) != lifecycle.Halting {
				t.Errorf("after it: %v, %+v", err, c.set.Operation)
			}
		})
	}
	c := newCluster(2)
	c.set.Failover = &etcdschema.Failover{Acks: 1, Grace: 30, Check: c.now.Add(48 * time.Hour)}
	if err := c.apply("m1", lifecycle.Event{Type: lifecycle.Reported, Status: datastores.Status{Service: datastores.StatusHealthy}}); err != nil || c.set.Failover.Check.After(c.now) {
		t.Errorf("a set that was to be looked at in two days is looked at %s, %v", c.set.Failover.Check, err)
	}
}
