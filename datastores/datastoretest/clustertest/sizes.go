package clustertest

import (
	"context"
	"slices"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

func testGrow(t *testing.T, c *cluster) {
	w := c.write(t)
	w.goesOn(t, someRows)
	c.add(t, c.Comers...)
	c.settle(t, c.members[len(c.members)-1])
	w.keeps(t)
}

func testShrink(t *testing.T, c *cluster) {
	w := c.write(t)
	w.goesOn(t, someRows)
	var gone []*member
	for _, place := range c.Leavers {
		gone = append(gone, c.members[place])
	}
	for _, m := range gone {
		m.State = datastores.ClusterLeaves
		c.twice(t, m, "leave", func(ctx context.Context, is manager) error { return is.LeaveCluster(ctx, c.view(m)) })
		c.takesNothing(t, m)
	}
	stay := c.of(datastores.ClusterIn)
	c.settle(t, stay[0])
	c.members = stay
	for _, m := range gone { // and then it is removed
		c.takesNothing(t, m)
		c.must(t, m, "stop", m.Stop)
	}
	w.keeps(t)
}

func testLost(t *testing.T, c *cluster) {
	w := c.write(t)
	w.goesOn(t, someRows)
	lost := c.copied(t)
	c.kill(t, lost)
	lost.State = datastores.ClusterLost
	c.settle(t, c.of(datastores.ClusterIn)[0])
	c.members = c.of(datastores.ClusterIn)
	c.add(t, lost.Shard)
	c.settle(t, c.members[0])
	w.keeps(t)
}

// copied is the first member of which another one has what it has.
func (c *cluster) copied(t *testing.T) *member {
	t.Helper()
	for _, m := range c.of(datastores.ClusterIn) {
		if slices.ContainsFunc(c.besides(m), func(other *member) bool { return other.Shard == m.Shard }) {
			return m
		}
	}
	t.Fatal("no member has another one with the same data")
	return nil
}
