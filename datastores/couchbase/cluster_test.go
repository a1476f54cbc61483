package couchbase

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cofferdb/coffer/datastores/couchbase/couchbasetest"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/clustertest"
)

// TestCluster runs the stage for clusters with the double.
func TestCluster(t *testing.T) {
	t.Parallel()
	t.Log("NOT TESTED with a Couchbase Server, of which there is none: the servers here are doubles, see couchbasetest")
	clustertest.Run(t, clustertest.Harness{
		Plugin:  Plugin(),
		Options: optionsOf(t, couchbasetest.Build(t), "7.6"),
		NewEnv:  newEnv,
		Open: func(_ context.Context, at []datastoretest.Login) (clustertest.Client, error) {
			return &ring{at: at}, nil
		},
		Kill: kill,
		Cut:  clustertest.CutBy(21100),
	})
}

// ring is a client that asks one node after the other until one has an answer.
type ring struct {
	at   []datastoretest.Login
	next int
}

func (r *ring) Close() error { return nil }

func (r *ring) ask(do func(held) error) (err error) {
	for range r.at {
		one := do(held{r.at[r.next%len(r.at)]})
		if one == nil {
			return nil
		}
		err = errors.Join(err, one)
		r.next++
	}
	return err
}

func rowKey(row int) string { return fmt.Sprintf("row-%d", row) }

// Write implements [clustertest.Client]. The bucket has the strongest durability already.
func (r *ring) Write(ctx context.Context, row int) error {
	return r.ask(func(h held) error { return h.put(ctx, rowKey(row), "{}") })
}

// Missing implements [clustertest.Client].
func (r *ring) Missing(ctx context.Context, rows int) (missing []int, err error) {
	var docs map[string]string
	err = r.ask(func(h held) (err error) {
		docs, err = h.all(ctx)
		return err
	})
	for row := range rows {
		if _, ok := docs[rowKey(row)]; !ok {
			missing = append(missing, row)
		}
	}
	return missing, err
}
