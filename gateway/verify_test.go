package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/plan"
)

// verify asks for the verification of a backup and waits for what comes of it.
func verify(t *testing.T, c gatewaytest.Client, id string) gatewaytest.Answer {
	t.Helper()
	if a := c.Want(t, 202, http.MethodPost, "/backups/"+id+"/action", `{"verify":{}}`); a.Text("backup", "verification", "state") == "ended" {
		t.Errorf("it is not begun: %s", a.Body)
	}
	return awaitVerified(t, c, id)
}

func awaitVerified(t *testing.T, c gatewaytest.Client, id string) (a gatewaytest.Answer) {
	t.Helper()
	waitFor(t, func() bool {
		a = c.Want(t, 200, http.MethodGet, "/backups/"+id, "")
		return a.Text("backup", "verification", "state") == "ended"
	})
	return a
}

// verifications are the keys of what is to be verified.
func verifications(t *testing.T, store *etcdschema.Store) int {
	t.Helper()
	list, err := etcdschema.List(t.Context(), store, etcdschema.Dues(plan.DueVerify), etcdschema.Page{})
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Records)
}

// TestVerify damages backups in the store in every way, and has them verified: a restore is not needed to know it.
func TestVerify(t *testing.T) {
	dir, option := stored(t)
	etcd, g, host := start(t, option)
	store, c := etcd.Store(t), g.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	release := host.Memory.Hold(address, "create_backup")
	a := c.Want(t, 202, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id))
	c.Want(t, 409, http.MethodPost, "/backups/"+a.Text("backup", "id")+"/action", `{"verify":{}}`)
	release()
	full := awaitBackup(t, c, a.Text("backup", "id")).Text("backup", "id")
	last := backUp(t, c, id, `,"incremental":1`).Text("backup", "id")
	if a := c.Want(t, 200, http.MethodGet, "/backups/"+full, ""); a.At("backup", "verification") != nil {
		t.Errorf("nobody has asked yet: %s", a.Body)
	}
	both := c.Want(t, 200, http.MethodGet, "/backups/"+full, "").At("backup", "stored").(float64) + c.Want(t, 200, http.MethodGet, "/backups/"+last, "").At("backup", "stored").(float64)
	if a := verify(t, c, last); a.Text("backup", "verification", "result") != "intact" || a.At("backup", "verification", "reason") != nil ||
		a.At("backup", "verification", "bytes").(float64) < both || a.Text("backup", "verification", "verified_at") == "" {
		t.Errorf("an intact chain of %v bytes: %s", both, a.Body)
	}
	other := g.Client(gatewaytest.Other)
	other.Project = "p2"
	other.Want(t, 404, http.MethodPost, "/backups/"+last+"/action", `{"verify":{}}`)
	g.Client(gatewaytest.Reader).Want(t, 403, http.MethodPost, "/backups/"+last+"/action", `{"verify":{}}`)

	at := func(name string) string {
		for _, f := range files(t, dir) {
			if strings.HasSuffix(f, name) {
				return filepath.Join(dir, f)
			}
		}
		t.Fatalf("there is no %s", name)
		return ""
	}
	segment, index := at(full+"/00000001"), at(full+"/00000000")
	for _, damage := range []struct {
		name, file, says string
		do               func(text []byte) ([]byte, error)
	}{
		{"a bit of a segment", segment, "segment 1 is damaged", func(b []byte) ([]byte, error) { b[len(b)/2] ^= 1; return b, nil }},
		{"a segment cut off", segment, "truncated", func(b []byte) ([]byte, error) { return b[:len(b)-1], nil }},
		{"a segment that grows", segment, "segment 1 is damaged", func(b []byte) ([]byte, error) { return append(b, 0), nil }},
		{"another segment's place", segment, "segment 1 is damaged", func([]byte) ([]byte, error) { return os.ReadFile(at(last + "/00000001")) }},
		{"no segment", segment, "it is missing", func([]byte) ([]byte, error) { return nil, nil }},
		{"a bit of the index", index, "the index is damaged", func(b []byte) ([]byte, error) { b[0] ^= 1; return b, nil }},
		{"another index", index, "the index is damaged", func([]byte) ([]byte, error) { return os.ReadFile(at(last + "/00000000")) }},
		{"no index", index, "cannot read the index", func([]byte) ([]byte, error) { return nil, nil }},
	} {
		was, err := os.ReadFile(damage.file)
		if err != nil {
			t.Fatal(err)
		}
		is, err := damage.do(append([]byte(nil), was...))
		if err == nil {
			err = os.Remove(damage.file)
		}
		if err == nil && is != nil {
			err = os.WriteFile(damage.file, is, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		a := verify(t, c, last)
		reason := a.Text("backup", "verification", "reason")
		if a.Text("backup", "verification", "result") != "damaged" || !strings.Contains(reason, full) || !strings.Contains(reason, damage.says) {
			t.Errorf("%s: %s", damage.name, a.Body)
		}
		if err := os.WriteFile(damage.file, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := faults(t, store, id); n != 8 {
		t.Errorf("the timeline tells of %d faults, want 8", n)
	}
	if m := g.Metrics(t); !strings.Contains(m, `coffer_backups_verified_total{result="damaged"} 8`) || !strings.Contains(m, `coffer_backups_verified_total{result="intact"} 1`) {
		t.Error("the metrics do not tell of 8 damaged and 1 intact")
	}
	if a := verify(t, c, last); a.Text("backup", "verification", "result") != "intact" {
		t.Errorf("mended: %s", a.Body)
	}
	if n := verifications(t, store); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// stuck is a store that gives nothing while it is held, and fails while it is broken.
type stuck struct {
	blobstore.Store
	hold   chan struct{} // closed: it gives
	asked  atomic.Int64
	broken atomic.Bool
}

func (s *stuck) Get(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	s.asked.Add(1)
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-s.hold:
	}
	if s.broken.Load() {
		return nil, 0, errors.New("dial tcp 10.1.2.3:9000: connection refused")
	}
	return s.Store.Get(ctx, name)
}

// overdue has a verification be as if its attempt had not been heard of for long.
func overdue(t *testing.T, store *etcdschema.Store, id string) {
	t.Helper()
	key := etcdschema.BackupKey(gatewaytest.Project, id)
	_, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil || !rec.Value.Verifying() {
			return nil, err
		}
		rec.Value.Verification.Until = time.Now().Add(-time.Second)
		ops := plan.DueVerification(&rec.Value, time.Now(), time.Now().Add(1000*time.Hour)) // so that the key moves
		return append(ops, etcdschema.Put(key, rec.Value)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerifyWithoutItsGateway ends the gateway that verifies: another one begins again.
func TestVerifyWithoutItsGateway(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	dir, option := stored(t)
	blobs, err := blobstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	held := &stuck{Store: blobs, hold: make(chan struct{})}
	first := gatewaytest.Start(t, etcd.Store(t), func(c *gateway.Config) { c.Blobs = held })
	gatewaytest.StartHost(t, first)
	c := first.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	c.Await(t, id, "ACTIVE", soon)
	backup := backUp(t, c, id, "").Text("backup", "id")
	c.Want(t, 202, http.MethodPost, "/backups/"+backup+"/action", `{"verify":{}}`)
	waitFor(t, func() bool { return held.asked.Load() > 0 })
	if a := c.Want(t, 202, http.MethodPost, "/backups/"+backup+"/action", `{"verify":{}}`); a.Text("backup", "verification", "state") != "running" {
		t.Errorf("asked again meanwhile: %s", a.Body)
	}
	first.Stop(t)
	second := gatewaytest.Start(t, etcd.Store(t), option)
	c = second.Client(gatewaytest.Member)
	overdue(t, store, backup)
	if a := awaitVerified(t, c, backup); a.Text("backup", "verification", "result") != "intact" || verifications(t, store) != 0 {
		t.Errorf("taken over: %s", a.Body)
	}
}

// TestVerifyEndsEarly cancels a verification, deletes a backup that is being verified, and reads from a store that fails.
func TestVerifyEndsEarly(t *testing.T) {
	dir := t.TempDir()
	blobs, err := blobstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	held := &stuck{Store: blobs, hold: make(chan struct{})}
	etcd, g, _ := start(t, func(c *gateway.Config) { c.Blobs = held })
	store, c := etcd.Store(t), g.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	c.Await(t, id, "ACTIVE", soon)
	ask := func() (backup string) {
		t.Helper()
		backup = backUp(t, c, id, "").Text("backup", "id")
		asked := held.asked.Load()
		c.Want(t, 202, http.MethodPost, "/backups/"+backup+"/action", `{"verify":{}}`)
		waitFor(t, func() bool { return held.asked.Load() > asked })
		return backup
	}
	cancelled := ask()
	c.Want(t, 202, http.MethodPost, "/backups/"+cancelled+"/action", `{"cancel":{}}`)
	if a := c.Want(t, 200, http.MethodGet, "/backups/"+cancelled, ""); a.Text("backup", "verification", "state") != "ended" || a.At("backup", "verification", "result") != nil || verifications(t, store) != 0 {
		t.Errorf("cancelled: %s", a.Body)
	}
	c.Want(t, 422, http.MethodPost, "/backups/"+cancelled+"/action", `{"cancel":{}}`)
	deleted := ask() // the place of the cancelled one may still be taken: there are two
	c.Want(t, 202, http.MethodDelete, "/backups/"+deleted, "")
	if n := verifications(t, store); n != 0 {
		t.Errorf("%d keys of a deleted backup are left", n)
	}

	held.broken.Store(true)
	close(held.hold)
	unread := backUp(t, c, id, "").Text("backup", "id")
	c.Want(t, 202, http.MethodPost, "/backups/"+unread+"/action", `{"verify":{}}`)
	is := func() etcdschema.Verification {
		rec, err := etcdschema.Get(t.Context(), store, etcdschema.BackupKey(gatewaytest.Project, unread))
		if err != nil {
			t.Fatal(err)
		}
		return *rec.Value.Verification
	}
	for n := 1; n < 5; n++ {
		waitFor(t, func() bool { return is().Tries == n })
		overdue(t, store, unread)
	}
	a := awaitVerified(t, c, unread)
	if reason := a.Text("backup", "verification", "reason"); a.Text("backup", "verification", "result") != "unreadable" || strings.Contains(reason, "10.1.2.3") {
		t.Errorf("a store that cannot be read: %s", a.Body)
	}
	held.broken.Store(false)
	if a := verify(t, c, unread); a.Text("backup", "verification", "result") != "intact" {
		t.Errorf("a store that can be read again: %s", a.Body)
	}
}
