// Package transfer lets backups leave an installation, and come into one: what each holds goes through the gateway as it was made,
// compressed. What leaves is opened here, and sealed by its receiver; what comes in is sealed with this installation's keys.
package transfer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores/guest/stream"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

// Porter carries backups. Make it with [New].
type Porter struct {
	control *control.Plane
	all     chan struct{} // places of all projects
}

const (
	// places is how many transfers a gateway has at a time. Each takes the memory of a restore: an index, and three segments.
	places = 8
	// longest is how long one may take, whatever its size.
	longest = 24 * time.Hour
)

// New returns a gateway's porter.
func New(cp *control.Plane) *Porter { return &Porter{cp, make(chan struct{}, places)} }

// enter takes a place.
func (p *Porter) enter() (leave func(), err error) {
	select {
	case p.all <- struct{}{}:
		return func() { <-p.all }, nil
	default:
		busy := limits.Over("transfers", fault.TooManyRequests, "This gateway sends and takes %d backups already. Try again later.", places)
		busy.RetryAfter = 10 * time.Second
		return nil, busy
	}
}

// Item is one backup of an export's manifest: what a `restore_from` needs to know, and what a person wants to.
type Item struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Instance    string    `json:"instance_id,omitempty"`
	Created     time.Time `json:"created"`
	control.RestoreFrom
}

// Manifest tells what it takes to bring a backup in elsewhere, with all that it builds on, the full one first.
func (p *Porter) Manifest(ctx context.Context, c control.Caller, id string) (items []Item, err error) {
	for id != "" {
		b, err := p.complete(ctx, c, id)
		if err != nil {
			return nil, err
		}
		items = append(items, Item{
			ID: b.BackupID, Name: b.Name, Description: b.Description, Instance: b.Instance, Created: b.Created,
			RestoreFrom: control.RestoreFrom{
				Size: float64(max(b.Used, 1)) / (1 << 30), Datastore: b.Datastore, Version: b.Version, Strategy: b.Strategy.String(), Bytes: b.Size, Meta: b.Meta, Fixed: b.Fixed,
			},
		})
		id = b.Parent
	}
	slices.Reverse(items)
	return items, nil
}

func (p *Porter) complete(ctx context.Context, c control.Caller, id string) (etcdschema.Backup, error) {
	b, err := p.control.FindBackup(ctx, c, id)
	switch {
	case err != nil:
		return b, err
	case p.control.Blobs == nil:
		return b, control.ErrNoStore
	case b.Status != etcdschema.BackupCompleted:
		return b, fault.Errorf(fault.Conflict, "Backup %s is not complete (%s): there is nothing to export yet.", id, b.Status)
	}
	return b, nil
}

// Content is what one backup holds, zstd-compressed, of Size bytes. It must be closed.
type Content struct {
	io.Reader
	Size  int64
	close func()
}

// Close ends the reading.
func (c *Content) Close() { c.close() }

// Open reads what a backup holds, without what it builds on. Every byte has been checked; an error names what is damaged.
func (p *Porter) Open(ctx context.Context, c control.Caller, id string) (*Content, error) {
	b, err := p.complete(ctx, c, id)
	if err != nil {
		return nil, err
	}
	var key []byte
	_, err = p.control.Store.Look(ctx, 0, nil, func(s etcdschema.Snapshot) (err error) {
		key, err = plan.StreamKey(p.control.Keys, s, b.Project)
		return err
	})
	if err != nil {
		return nil, err
	}
	leave, err := p.enter()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	from := &segments.Shelf{Blobs: p.control.Blobs, Prefix: segments.BackupPrefix(b.Container, b.Project, b.BackupID)}
	r, size, err := stream.OpenPacked(ctx, from, b.BackupRef, key)
	if err != nil {
		cancel()
		leave()
		p.control.Log.Error("a backup cannot be exported", "project", b.Project, "backup_id", id, "err", err)
		if _, is := errors.AsType[segments.Unreadable](err); is {
			return nil, fault.Errorf(fault.Unavailable, "The store of backups gives no answer. Try again later.")
		}
		return nil, fault.Errorf(fault.Conflict, "Backup %s is damaged: verify it, and make a new full one.", id)
	}
	p.control.Log.Info("a backup is exported", "request_id", c.Request, "project", b.Project, "backup_id", id, "user", cmp.Or(c.Who.UserName, "unnamed"))
	return &Content{r, size, func() {
		_ = r.Close()
		cancel()
		leave()
	}}, nil
}

// maxMeta is how much a strategy may say of its backup, as of one that is made here.
const maxMeta = 8 << 10

// object reports whether text is a JSON object, or nothing.
func object(text json.RawMessage) bool {
	var any map[string]json.RawMessage
	return len(text) == 0 || json.Unmarshal(text, &any) == nil
}
