package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/blobstore/blobstoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// picky is a store that takes so many blobs.
type picky struct {
	blobstore.Store
	takes atomic.Int64
}

func (p *picky) Put(ctx context.Context, name string, size int64, sum string, r io.Reader) error {
	if p.takes.Add(-1) < 0 {
		return fmt.Errorf("cannot store %s: %w", name, blobstore.ErrDenied)
	}
	return p.Store.Put(ctx, name, size, sum, r)
}

// TestStoreThatTakesNoMore has stores that are full, and that deny access midway. What fails says why, leaves nothing and
// costs nothing, and is done again as soon as there is room.
func TestStoreThatTakesNoMore(t *testing.T) {
	for name, says := range map[string]string{"full": agentpoll.StoreFull, "denied": agentpoll.StoreDenies} {
		t.Run(name, func(t *testing.T) {
			dir, denies := blobstoretest.Small(t, 32), &picky{}
			blobs, err := blobstore.OpenDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			denies.Store = blobs
			denies.takes.Store(1)
			mend := func() { denies.takes.Store(1000); blobstoretest.Grow(t, dir, 32<<10) }
			_, g, host := start(t, func(c *gateway.Config) {
				if c.Blobs = blobs; name == "denied" {
					blobstoretest.Grow(t, dir, 32<<10)
					c.Blobs = denies
				}
			})
			host.Memory.ReplicaBackup = true
			c := g.Client(gatewaytest.Member)
			id := c.Create(t, "db", tenant)
			address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
			if _, err := host.Memory.Write(t.Context(), login(address), 0, 5000); err != nil {
				t.Fatal(err)
			}
			failed := backUp(t, c, id, "")
			if failed.Text("backup", "status") != "FAILED" || !strings.HasPrefix(failed.Text("backup", "fault"), says) {
				t.Errorf("the backup: %s", failed.Body)
			}
			nothingLeft := func(what string) {
				t.Helper()
				waitFor(t, func() bool { return len(files(t, dir)) == 0 })
				if used := c.Want(t, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "").At("quotas", 3, "in_use"); used != 0.0 {
					t.Errorf("%v backups in use after %s", used, what)
				}
			}
			nothingLeft("a failed backup")
			denies.takes.Store(1)
			replica := c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, id)).Text("instance", "id")
			if fault := c.Await(t, replica, "ERROR", soon).Text("instance", "fault", "message"); !strings.Contains(fault, says) {
				t.Errorf("the replica's fault: %q", fault)
			}
			c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(replica), "")
			c.AwaitGone(t, replica, soon)
			c.Await(t, id, "ACTIVE", soon)
			nothingLeft("a failed replica")

			mend()
			if a := backUp(t, c, id, ""); a.Text("backup", "status") != "COMPLETED" {
				t.Errorf("with room again: %s", a.Body)
			}
		})
	}
}
