package across

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"filippo.io/age"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

// Meter is told how far the n-th part of all is. total is -1 when nobody knows how long it is.
type Meter func(n, all int, done, total int64)

// idle is how long a transfer may stand still. A gateway that stores the end of it needs some time.
const idle = 5 * time.Minute

// Export writes a backup to a file, with all that it builds on. The file has its name when it is whole, and is not there otherwise.
func Export(ctx context.Context, c *gophercloud.ServiceClient, id, name string, to []age.Recipient, show Meter) (items []dbext.ExportItem, err error) {
	if items, err = dbext.GetExport(ctx, c, id); err != nil {
		return nil, err
	}
	w, err := Create(name, items, to...)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.Abandon()
		}
	}()
	for n, item := range items {
		err := moving(ctx, func(ctx context.Context, moved func()) error {
			content, size, err := dbext.ReadContent(ctx, c, item.ID)
			if err != nil {
				return err
			}
			defer content.Close()
			return w.Part(size, &metered{r: content, moved: moved, show: func(done int64) { show(n, len(items), done, size) }})
		})
		if err != nil {
			return nil, fmt.Errorf("backup %s (%s) was not read to its end, and there is no %s: %w", item.Name, item.ID, name, err)
		}
	}
	return items, w.Finish()
}

// Wish says what is to be made of an archive.
type Wish struct {
	Name, Description  string
	Datastore, Version string // instead of what the manifest says, unless ""
}

// Import has an archive become a backup of the project, with all that it builds on, each under its own name but the last. When it fails
// nothing of it stays.
func Import(ctx context.Context, c *gophercloud.ServiceClient, a *Archive, wish Wish, show Meter) (b dbext.Backup, err error) {
	i := importing{ServiceClient: c}
	defer func() { err = i.tidy(ctx, err) }()
	for n, item := range a.Backups {
		name, description := item.Name, item.Description
		if n == len(a.Backups)-1 {
			name, description = wish.Name, wish.Description
		}
		from := item.RestoreFrom
		if wish.Datastore != "" {
			from.Datastore = wish.Datastore
		}
		if wish.Version != "" {
			from.Version = wish.Version
		}
		if b, err = i.order(ctx, name, description, from); err != nil {
			return b, err
		}
		b, err = i.deliver(ctx, b, dbext.Zstd, func() (io.ReadCloser, int64, error) {
			r, size := a.Part(n)
			return io.NopCloser(r), size, nil
		}, func(done, total int64) { show(n, len(a.Backups), done, total) })
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

// importing is an import that goes on.
type importing struct {
	*gophercloud.ServiceClient
	made []string // ids of backups, each built on the one before it
}

func (i *importing) order(ctx context.Context, name, description string, from dbext.RestoreFrom) (dbext.Backup, error) {
	parent := ""
	if len(i.made) > 0 {
		parent = i.made[len(i.made)-1]
	}
	b, err := dbext.OrderImport(ctx, i.ServiceClient, name, description, parent, from)
	if err == nil {
		i.made = append(i.made, b.ID)
	}
	return b, err
}

// tries is how often a part is sent, when the network fails.
const tries = 4

// deliver sends what a backup holds, from its beginning each time. size is -1 when nobody knows it.
func (i *importing) deliver(
	ctx context.Context, b dbext.Backup, media string, open func() (content io.ReadCloser, size int64, err error), show func(done, total int64),
) (dbext.Backup, error) {
	var failure error
	for try := 1; ; try++ {
		content, size, err := open()
		if err != nil { // what can be read once only fails as it did the first time
			return b, cmp.Or(failure, err)
		}
		sent, err := i.send(ctx, b.ID, media, content, size, show)
		_ = content.Close()
		if err == nil || !passes(err) || try == tries || ctx.Err() != nil {
			return sent, err
		}
		is, looked := i.await(ctx, b.ID, func(b dbext.Backup) bool { return b.Status != "BUILDING" })
		switch {
		case looked == nil && is.Status == "COMPLETED": // the answer was lost
			return is, nil
		case looked != nil || is.Status != "NEW":
			return is, err
		}
		failure = err
	}
}

func (i *importing) send(ctx context.Context, id, media string, content io.Reader, size int64, show func(done, total int64)) (b dbext.Backup, err error) {
	m := &metered{r: content, show: func(done int64) { show(done, size) }}
	err = moving(ctx, func(ctx context.Context, moved func()) error {
		m.moved = moved
		b, err = dbext.SendContent(ctx, i.ServiceClient, id, media, size, m)
		return err
	})
	if failed := m.failed(); failed != nil { // else that would be told as the network's
		err = failed
	}
	return b, err
}

// passes reports whether an error may be another one the next time: that of the network, or of a gateway that is busy or ends.
func passes(err error) bool {
	var answer gophercloud.ErrUnexpectedResponseCode
	var own *readError
	switch {
	case errors.As(err, &own):
		return false
	case errors.As(err, &answer):
		return slices.Contains([]int{
			http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		}, answer.Actual)
	}
	return true
}

const (
	look = 300 * time.Millisecond
	// patience is how long a gateway may need to find out that a sending has ended, and some more.
	patience = 3 * time.Minute
)

// await looks at a backup until it is so.
func (i *importing) await(ctx context.Context, id string, so func(dbext.Backup) bool) (b dbext.Backup, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return b, errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
		if b, err = dbext.GetBackup(ctx, i.ServiceClient, id); err == nil && so(b) || err != nil && !passes(err) {
			return b, err
		}
	}
}

// tidy removes what an import has made that has failed.
func (i *importing) tidy(ctx context.Context, failure error) error {
	if failure == nil || len(i.made) == 0 {
		return failure
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	last, first := i.made[len(i.made)-1], i.made[0]
	err := dbext.CancelBackup(ctx, i.ServiceClient, last)
	if err == nil {
		_, err = i.await(ctx, last, func(b dbext.Backup) bool { return !b.Running() })
	}
	if err == nil {
		err = dbext.DeleteBackup(ctx, i.ServiceClient, first) // with those that build on it
	}
	if err != nil {
		return fmt.Errorf("%w; and backup %s, which was begun, could not be removed: %v", failure, first, err)
	}
	return failure
}

// moving runs do, and ends it when moved is not called for long.
func moving(ctx context.Context, do func(ctx context.Context, moved func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(idle, func() { cancel(errStill) })
	defer timer.Stop()
	err := do(ctx, func() { timer.Reset(idle) })
	if err != nil && errors.Is(context.Cause(ctx), errStill) {
		return errStill
	}
	return err
}

var errStill = fmt.Errorf("nothing has moved for %v", idle)
