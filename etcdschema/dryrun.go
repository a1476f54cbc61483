package etcdschema

import (
	"bytes"
	"context"
	"errors"
)

// ErrDryRun ends an update that would have changed something, in a context of [DryRun].
var ErrDryRun = errors.New("nothing was written: this is a dry run")

// Foreseen is what a dry run would have written, in its first transaction. It is written by the goroutine whose context it is of.
type Foreseen struct{ Would []Would }

// Would is what would become of one record.
type Would struct {
	Key  string
	Does string // made, changed, removed
}

type dryRun struct{}

// DryRun is a context in which nothing can be written. An update decides as ever, over what is there; when it would change something it
// notes that, and ends with [ErrDryRun].
func DryRun(ctx context.Context) (context.Context, *Foreseen) {
	f := &Foreseen{}
	return context.WithValue(ctx, dryRun{}, f), f
}

func dryRunOf(ctx context.Context) *Foreseen {
	f, _ := ctx.Value(dryRun{}).(*Foreseen)
	return f
}

// foresee notes what ops would change, unless an earlier update of the dry run has.
func (f *Foreseen) foresee(snap Snapshot, ops []Op) error {
	var changes []Would
	for _, op := range ops {
		if op.err != nil {
			return op.err
		}
		old := snap.kvs[op.path]
		c := Would{op.path, "changed"}
		switch {
		case op.delete, op.all:
			c.Does = "removed"
		case old == nil:
			c.Does = "made"
		default:
			if value, err := encode(op.value); err != nil || bytes.Equal(value, old.Value) {
				if err != nil {
					return err
				}
				continue
			}
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil
	}
	if f.Would == nil {
		f.Would = changes
	}
	return ErrDryRun
}
