package clustertest

import (
	"context"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

func testRestart(t *testing.T, c *cluster) {
	w := c.write(t)
	for _, m := range c.of(datastores.ClusterIn) {
		c.must(t, m, "stop", m.Stop)
		c.restart(t, m)
		c.settle(t, c.besides(m)[0])
		w.goesOn(t, someRows)
	}
	w.keeps(t)
}

func testKilled(t *testing.T, c *cluster) {
	w, m := c.write(t), c.of(datastores.ClusterIn)[0]
	w.goesOn(t, someRows)
	c.kill(t, m)
	c.goOnWithout(t, w, m)
	c.restart(t, m)
	c.settle(t, c.besides(m)[0])
	w.keeps(t)
}

// goOnWithout wants that the others do without a member.
func (c *cluster) goOnWithout(t *testing.T, w *writer, gone *member) {
	t.Helper()
	if c.Replaced == nil {
		w.goesOn(t, someRows)
		return
	}
	var others []datastores.ClusterMember
	for _, m := range c.besides(gone) {
		others = append(others, m.ClusterMember)
	}
	c.must(t, gone, "do without", func(ctx context.Context) error { return c.Replaced(ctx, gone.ClusterMember, others) })
}

func testCutOff(t *testing.T, c *cluster) {
	if c.Cut == nil {
		t.Skip("NOT TESTED: the harness has no Cut")
	}
	w, m := c.write(t), c.of(datastores.ClusterIn)[1] // the first one has just been killed, and may have lost its place
	var others []datastores.Env
	for _, other := range c.besides(m) {
		others = append(others, other.env)
	}
	w.goesOn(t, someRows)
	heal := c.Cut(t, m.env, others)
	c.isOutside(t, m)
	c.goOnWithout(t, w, m)
	heal()
	c.settle(t, c.besides(m)[0])
	w.keeps(t)
}

func testOutside(t *testing.T, c *cluster) {
	w, all := c.write(t), c.of(datastores.ClusterIn)
	last := all[len(all)-1]
	w.goesOn(t, someRows)
	c.kill(t, c.besides(last)...)
	c.isOutside(t, last)
	c.restart(t, c.besides(last)...)
	c.settle(t, last)
	w.keeps(t)
}

func testAllKilled(t *testing.T, c *cluster) {
	w, all := c.write(t), c.of(datastores.ClusterIn)
	w.goesOn(t, someRows)
	c.kill(t, all...)
	c.restart(t, all...)
	c.settle(t, all[len(all)-1])
	w.keeps(t)
}

func testAllStopped(t *testing.T, c *cluster) {
	w, all := c.write(t), c.of(datastores.ClusterIn)
	w.goesOn(t, someRows)
	for _, m := range all {
		c.must(t, m, "stop", m.Stop)
	}
	c.restart(t, all...)
	c.settle(t, all[0])
	w.goesOn(t, someRows)
	c.together(t, "stop", all, func(ctx context.Context, m *member) error { return m.Stop(ctx) })
	c.restart(t, all...)
	c.settle(t, all[0])
	w.keeps(t)
}
