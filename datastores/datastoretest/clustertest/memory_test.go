package clustertest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/clustertest"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
)

// harness is that of the datastore in memory.
func harness(memory *inmemory.Datastore, plugin datastores.Plugin) clustertest.Harness {
	return clustertest.Harness{
		Plugin: plugin,
		NewEnv: func(t *testing.T) datastores.Env { return datastoretest.NewEnv(t) },
		Open: func(_ context.Context, at []datastoretest.Login) (clustertest.Client, error) {
			return &client{memory: memory, at: at}, nil
		},
		Kill: func(_ context.Context, env datastores.Env) error {
			memory.Crash(env.Address)
			return nil
		},
		Cut: func(_ *testing.T, env datastores.Env, _ []datastores.Env) (heal func()) {
			return memory.Cut(env.Address)
		},
	}
}

// client goes from member to member.
type client struct {
	memory *inmemory.Datastore
	at     []datastoretest.Login
	turn   int
}

// do does something at the next member.
func (c *client) do(ctx context.Context, what func(datastoretest.WriteKind, datastoretest.Session) error) error {
	c.turn++
	l := c.at[c.turn%len(c.at)]
	l.Database = "" // root's, who has none of its own
	s, err := c.memory.Session(ctx, l)
	if err != nil {
		return err
	}
	return errors.Join(what(c.memory.Kinds()[0], s), s.Close())
}

func (c *client) Write(ctx context.Context, row int) error {
	return c.do(ctx, func(k datastoretest.WriteKind, s datastoretest.Session) error { return k.Write(ctx, s, row) })
}

func (c *client) Missing(ctx context.Context, rows int) (missing []int, err error) {
	err = c.do(ctx, func(k datastoretest.WriteKind, s datastoretest.Session) error {
		for row := range rows {
			if k.Read(ctx, s, row) != nil {
				missing = append(missing, row)
			}
		}
		return nil
	})
	return missing, err
}

func (c *client) Close() error { return nil }

// TestMemory: the cluster in memory passes, with shards and without.
func TestMemory(t *testing.T) {
	t.Run("equal members", func(t *testing.T) {
		memory := new(inmemory.Datastore)
		clustertest.Run(t, harness(memory, memory.Plugin()))
	})
	t.Run("shards", func(t *testing.T) {
		memory := new(inmemory.Datastore)
		h := harness(memory, memory.Plugin())
		h.Founders, h.Comers, h.Leavers = []string{"1", "2", "1", "2"}, []string{"3", "3"}, []int{1, 3}
		clustertest.Run(t, h)
	})
}
