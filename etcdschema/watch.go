package etcdschema

import (
	"context"
	"errors"
)

// Change is one record that was put or deleted.
type Change struct {
	Key      string
	Value    []byte // nil: deleted
	Revision int64
}

// Batch is what happened up to Revision. All changes of one revision are in one batch, in etcd's order.
type Batch struct {
	Changes  []Change
	Revision int64
	// Resync: Changes is everything there is under the prefix, and a deletion of everything that was told before and is
	// gone. The first batch is one; later ones follow compaction and a lost etcd.
	Resync bool
}

// Watch tells handle everything that happens under prefix until ctx ends; then it returns ctx's error. It lists, then
// watches from the next revision on, requires a leader, asks for progress and begins anew when no answer comes. An empty
// batch reports progress only. handle is called from one goroutine and should be quick.
func (s *Store) Watch(ctx context.Context, prefix string, handle func(Batch)) error {
	return errors.New("TODO")
}
