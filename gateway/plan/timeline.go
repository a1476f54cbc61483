package plan

import (
	"time"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
)

// How long records of the past stay.
const (
	keepEvents     = 30 * 24 * time.Hour
	keepDeleted    = keepEvents // of an instance that has ended, as its timeline
	KeepResults    = 10 * time.Minute
	KeepEnrolments = time.Hour // a used one; an unused one lives as long as the create that waits for it
)

// maxEvents is how many lines a timeline has at most.
const maxEvents = 1000

// Tell adds a line to an instance's timeline, and takes the oldest away when it is full.
func Tell(in *etcdschema.Instance, e etcdschema.Event) []etcdschema.Op {
	in.LastEvent++
	e.Message = limits.Shortened(e.Message)
	ops := []etcdschema.Op{etcdschema.Put(etcdschema.EventKey(in.ID, in.LastEvent), e).For(keepEvents)}
	if old := in.LastEvent - maxEvents; old > 0 {
		ops = append(ops, etcdschema.Delete(etcdschema.EventKey(in.ID, old)))
	}
	return ops
}

// NewID makes an id that sorts by time.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// Moves are the changes that a decision comes to.
type Moves struct {
	Ops   []etcdschema.Op
	After lifecycle.Member // with its set as it is then; of a set's event a set alone
	// FailedOver is for how long the set had no source, of a failover that has just found one; nil: none has.
	FailedOver *time.Duration
}
