package clustertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
)

// RootPassword is that of the tenant as whom clients come, root.
const RootPassword = "root of all"

const database = "counted"

// manager is what the stage needs of one.
type manager interface {
	datastores.Manager
	datastores.Cluster
	datastores.Root
}

// member is a server, with its manager of the moment.
type member struct {
	datastores.ClusterMember
	env datastores.Env
	manager
}

// cluster is what stands on the stage.
type cluster struct {
	Harness
	owner   *testing.T // of the servers: the test that contains all others
	id      string
	secret  datastores.Secret
	members []*member
	login   datastoretest.Login // without an address
	rows    int                 // how many were acknowledged
	from    *datastores.Restore // the backup of another one with which it begins; nil: none
}

// of returns the members that stand so.
func (c *cluster) of(state datastores.ClusterState) []*member {
	return slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return m.State != state })
}

// besides returns the members that are in, without one.
func (c *cluster) besides(without *member) []*member {
	return slices.DeleteFunc(c.of(datastores.ClusterIn), func(m *member) bool { return m == without })
}

// view is what a member is told.
func (c *cluster) view(self *member) datastores.ClusterView {
	v := datastores.ClusterView{ID: c.id, Self: self.ID, Secret: c.secret, Progress: func(message string) {
		self.env.Log.Debug("progress", "member", self.ID, "message", message)
	}}
	for _, m := range c.members {
		v.Members = append(v.Members, m.ClusterMember)
	}
	return v
}

// reopen makes another manager of the same server, as a new guest does.
func (c *cluster) reopen(t *testing.T, m *member) {
	t.Helper()
	opened, err := c.Plugin.Open(m.env, c.Options)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	is, ok := opened.(manager)
	if !ok {
		t.Fatalf("%T has no clusters, or no root", opened)
	}
	m.manager = is
}

// within is a context for one call, also of a cleanup.
func (c *cluster) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), c.Timeout)
}

// must makes a call of a member's.
func (c *cluster) must(t *testing.T, m *member, what string, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := c.within()
	defer cancel()
	began := time.Now()
	if err := call(ctx); err != nil {
		c.tell(t)
		t.Fatalf("%s: member %s: %v", what, m.ID, err)
	}
	t.Logf("%s: member %s, in %s", what, m.ID, time.Since(began).Round(time.Millisecond))
}

// twice makes a call, and makes it again with another manager.
func (c *cluster) twice(t *testing.T, m *member, what string, call func(context.Context, manager) error) {
	t.Helper()
	c.must(t, m, what, func(ctx context.Context) error { return call(ctx, m.manager) })
	c.reopen(t, m)
	c.must(t, m, what+" again", func(ctx context.Context) error { return call(ctx, m.manager) })
}

// together does something to members at once.
func (c *cluster) together(t *testing.T, what string, members []*member, do func(context.Context, *member) error) {
	t.Helper()
	ctx, cancel := c.within()
	defer cancel()
	failures := make([]error, len(members))
	var all sync.WaitGroup
	began := time.Now()
	for i, m := range members {
		all.Go(func() { failures[i] = do(ctx, m) })
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		c.tell(t)
		t.Fatalf("%s: %v", what, err)
	}
	t.Logf("%s: %d members, in %s", what, len(members), time.Since(began).Round(time.Millisecond))
}

// tell logs how each member is, and what its server has said last.
func (c *cluster) tell(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), oneTry)
	defer cancel()
	for _, m := range c.members {
		words := ""
		if c.Words != nil {
			words = c.Words(m.env)
		}
		t.Logf("member %s: %+v\n%s", m.ID, m.Status(ctx), words)
	}
}

// restart starts servers that have ended, each with a new manager. A server that ends again while it starts is started once more, as its guest
// does.
func (c *cluster) restart(t *testing.T, members ...*member) {
	t.Helper()
	for _, m := range members {
		c.reopen(t, m)
	}
	defer c.mended(members...)()
	c.together(t, "start", members, func(ctx context.Context, m *member) error {
		err := m.Start(ctx)
		if err != nil && m.Status(ctx).Service == datastores.StatusShutdown {
			t.Logf("member %s is started once more: %v", m.ID, err)
			c.tell(t)
			err = m.Start(ctx)
		}
		return err
	})
}

// kill ends servers at once.
func (c *cluster) kill(t *testing.T, members ...*member) {
	t.Helper()
	c.together(t, "kill", members, func(ctx context.Context, m *member) error { return c.Kill(ctx, m.env) })
}

// settle settles the cluster, and once more by another member. Their guests look after them, as they do every few seconds.
func (c *cluster) settle(t *testing.T, by *member) {
	t.Helper()
	for _, m := range []*member{by, c.besides(by)[0]} {
		done := c.mended(m)
		c.must(t, m, "settle", func(ctx context.Context) error { return m.SettleCluster(ctx, c.view(m)) })
		done()
	}
	for _, m := range c.of(datastores.ClusterIn) {
		if is, ok := m.manager.(datastores.Upkeep); ok {
			c.must(t, m, "upkeep", is.Upkeep)
		}
	}
}

// mended has the guests of all members that are in, but those that have a call to make, bring back servers that are blocked, as they do every few
// seconds, until it is done.
func (c *cluster) mended(busy ...*member) (done func()) {
	ctx, cancel := c.within()
	var all sync.WaitGroup
	for _, m := range c.of(datastores.ClusterIn) {
		is, ok := m.manager.(datastores.Mender)
		if !ok || slices.Contains(busy, m) {
			continue
		}
		all.Go(func() {
			for service.Pause(ctx, time.Second) {
				if m.Status(ctx).Service == datastores.StatusBlocked {
					_ = is.Mend(ctx) // what it waits for the status says
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}
