package clustertest

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// Harness is what a datastore brings to the stage.
type Harness struct {
	Plugin datastores.Plugin
	// Options are the guest half to test with; nil is the plug-in's defaults.
	Options []byte
	// NewEnv makes a place of its own for one server and takes it away with the test, see [datastoretest.NewEnv].
	NewEnv func(t *testing.T) datastores.Env

	// Founders are the shards of those that found the cluster, in their order. nil: three members, and no shards.
	Founders []string
	// Comers are the shards of those that join later. nil: one member, of no shard.
	Comers []string
	// Leavers are those that leave, one after the other, by their places among the founders. nil: the first one.
	Leavers []int

	// Ready makes what rows need that there is not in a new cluster, such as a table, as root. nil: nothing.
	Ready func(ctx context.Context, root datastoretest.Login) error
	// Open opens a client at members, some of which may not answer, as root, in a database where the datastore has them.
	Open func(ctx context.Context, at []datastoretest.Login) (Client, error)

	// Kill ends a server's processes as SIGKILL does and returns when they are gone.
	Kill func(ctx context.Context, env datastores.Env) error
	// Replaced waits until the others do without a member that was killed, whose data they have a copy of, of a datastore whose client
	// is acknowledged nothing of that data while a copy is missing. nil: the client goes on, which is wanted.
	Replaced func(ctx context.Context, killed datastores.ClusterMember, others []datastores.ClusterMember) error
	// Cut has a server and the others not reach each other, while clients reach it, until it is healed. nil: that is not tested.
	Cut func(t *testing.T, env datastores.Env, others []datastores.Env) (heal func())

	// Words are what a server has said last, for whoever reads why a test has failed. nil: they are not told.
	Words func(env datastores.Env) string

	// Timeout is how long one call may take; 0: three minutes.
	Timeout time.Duration
}

// Client is a tenant's program that knows clusters of a datastore, and how to write so that nothing is lost.
type Client interface {
	// Write stores the row of a number, which may be there. It tries once, and returns nil when the cluster has acknowledged the row at
	// the strongest that a client can ask for.
	Write(ctx context.Context, row int) error
	// Missing tells which of the rows from 0 to rows-1 are not there. It must not be told of what was there once.
	Missing(ctx context.Context, rows int) ([]int, error)
	Close() error
}

func (h *Harness) defaults() {
	if h.Founders == nil {
		h.Founders = make([]string, 3)
	}
	if h.Comers == nil {
		h.Comers = make([]string, 1)
	}
	if h.Leavers == nil {
		h.Leavers = []int{0}
	}
	h.Timeout = cmp.Or(h.Timeout, 3*time.Minute)
}
