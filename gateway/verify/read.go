package verify

import (
	"context"
	"fmt"
	"io"

	"github.com/cofferdb/coffer/datastores/guest/stream"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/segments"
)

// read reads all of a chain as a restore would. An error is what is wrong with it, or a segments.Unreadable.
func (t *attempt) read(ctx context.Context) error {
	if first := t.chain[0]; first.Parent != "" {
		return fmt.Errorf("backup %s, on which it builds, is gone", first.Parent)
	}
	for _, link := range t.chain {
		if err := t.link(ctx, link); err != nil {
			return err
		}
	}
	return nil
}

func (t *attempt) link(ctx context.Context, b etcdschema.Backup) error {
	if b.Status != etcdschema.BackupCompleted {
		return fmt.Errorf("backup %s, on which it builds, is %s", b.BackupID, b.Status)
	}
	from := &segments.Shelf{Blobs: t.Control.Blobs, Prefix: segments.BackupPrefix(b.Container, b.Project, b.BackupID), Read: func(n int64) { t.done.Add(n) }}
	r, err := stream.Open(ctx, from, b.BackupRef, t.key)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(r, b.Size+1)) // more of it may be without end
	if err == nil && n != b.Size {
		err = fmt.Errorf("backup %s: its stream is longer than the %d bytes that it should have", b.BackupID, b.Size)
	}
	return err
}
