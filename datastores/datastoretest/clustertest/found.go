package clustertest

import (
	"context"
	"slices"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// newCluster founds one, with a tenant. Its servers are stopped with the test that contains all tests.
func newCluster(t, owner *testing.T, h Harness) *cluster {
	t.Helper()
	c := &cluster{Harness: h, owner: owner, id: h.NewEnv(t).InstanceID, secret: datastores.NewSecret("theClustersOwnSecret")}
	c.add(t, c.Founders...)
	first := c.members[0]
	c.settle(t, first)
	c.login = datastoretest.Login{Password: RootPassword}
	asked := c.members
	if !c.usersPerServer() {
		asked = asked[:1]
	}
	c.together(t, "enable root", asked, func(ctx context.Context, m *member) (err error) {
		name, err := m.EnableRoot(ctx, datastores.NewSecret(RootPassword))
		if m == first {
			c.login.User = name
		}
		return err
	})
	if m, ok := first.manager.(datastores.Databases); ok {
		c.login.Database = database
		c.must(t, first, "create database", func(ctx context.Context) error { return m.CreateDatabase(ctx, datastores.Database{Name: database}) })
	}
	if c.Ready != nil {
		c.must(t, first, "make ready", func(ctx context.Context) error { return c.Ready(ctx, c.logins(first)[0]) })
	}
	return c
}

// usersPerServer reports whether each server has its own users.
func (c *cluster) usersPerServer() bool {
	return slices.ContainsFunc(c.Plugin.Manifest().Offers, func(o datastores.Offer) bool { return o.Server.UsersPerServer })
}

// add makes members of these shards and has them join: the founder alone, the others at once where they can.
func (c *cluster) add(t *testing.T, shards ...string) {
	t.Helper()
	var come []*member
	for _, shard := range shards {
		env := c.NewEnv(c.owner)
		m := &member{env: env, ClusterMember: datastores.ClusterMember{ID: env.InstanceID, Address: env.Address, Shard: shard, State: datastores.ClusterOutside}}
		c.reopen(t, m)
		c.owner.Cleanup(func() {
			ctx, cancel := c.within()
			defer cancel()
			if err := m.Stop(ctx); err != nil {
				c.owner.Errorf("stop: member %s: %v", m.ID, err)
			}
		})
		come = append(come, m)
	}
	c.members = append(c.members, come...)
	c.together(t, "prepare", come, func(ctx context.Context, m *member) error {
		v := c.view(m)
		return m.Prepare(ctx, datastores.PrepareRequest{Progress: v.Progress, Cluster: &v, Restore: c.begin(m)})
	})
	for len(come) > 0 {
		n := 1
		if come[0].ClusterShape().Together && len(c.of(datastores.ClusterIn)) > 0 {
			n = len(come)
		}
		c.join(t, come[:n])
		come = come[n:]
	}
}

// join has members join at once, each of them twice.
func (c *cluster) join(t *testing.T, come []*member) {
	t.Helper()
	for _, m := range come {
		m.State = datastores.ClusterJoins
	}
	for _, what := range []string{"join", "join again"} {
		c.together(t, what, come, func(ctx context.Context, m *member) error { return m.JoinCluster(ctx, c.view(m)) })
		for _, m := range come {
			c.reopen(t, m)
		}
	}
	for _, m := range come {
		m.State = datastores.ClusterIn
	}
}

func testFound(t *testing.T, c *cluster) {
	w := c.write(t)
	w.goesOn(t, someRows)
	w.keeps(t)
}
