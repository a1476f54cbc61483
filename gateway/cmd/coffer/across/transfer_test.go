package across_test

import (
	"bytes"
	"context"
	"crypto/rand"
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

	"filippo.io/age"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/across"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

const soon = 30 * time.Second

// installation is a gateway with an etcd, a store and a host of its own, and two clients of a member of it.
type installation struct {
	host   *gatewaytest.Host
	client gatewaytest.Client
	api    *gophercloud.ServiceClient
}

func install(t *testing.T) installation {
	t.Helper()
	store := etcdtest.Start(t).Store(t)
	gatewaytest.Define(t, store)
	g := gatewaytest.Start(t, store)
	provider := &gophercloud.ProviderClient{TokenID: gatewaytest.Member}
	return installation{
		gatewaytest.StartHost(t, g), g.Client(gatewaytest.Member),
		&gophercloud.ServiceClient{ProviderClient: provider, Endpoint: g.URL + "/v1.0/" + gatewaytest.Project + "/", Type: "database"},
	}
}

func login(address string) datastoretest.Login {
	return datastoretest.Login{Address: address, User: "bob", Password: "s3cret", Database: "orders"}
}

func quiet(int, int, int64, int64) {}

// chain makes an instance with 100 items, of which the second half is in an incremental backup. It returns that one's id.
func (i installation) chain(t *testing.T) (last string) {
	t.Helper()
	id := i.client.Create(t, "db", `,"databases":[{"name":"orders"}],"users":[{"name":"bob","password":"s3cret","databases":[{"name":"orders"}]}]`)
	at := i.client.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	for n := range 2 {
		if _, err := i.host.Memory.Write(t.Context(), login(at), n*50, n*50+50); err != nil {
			t.Fatal(err)
		}
		b, err := dbext.CreateBackup(t.Context(), i.api, dbext.BackupOpts{Name: fmt.Sprintf("b%d", n), Instance: id, Parent: last})
		if err != nil {
			t.Fatal(err)
		}
		last = b.ID
		for b.Running() {
			if b, err = dbext.GetBackup(t.Context(), i.api, last); err != nil {
				t.Fatal(err)
			}
		}
		if b.Status != "COMPLETED" {
			t.Fatalf("the backup is %s: %s", b.Status, b.Fault)
		}
	}
	return last
}

func (i installation) backups(t *testing.T) []dbext.Backup {
	t.Helper()
	all, err := dbext.ListBackups(t.Context(), i.api, "")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAcross has a backup leave one installation in a file, and become an instance of another one.
func TestAcross(t *testing.T) {
	from, to := install(t), install(t)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	last := from.chain(t)
	name := filepath.Join(t.TempDir(), "db.backup")
	items, err := across.Export(t.Context(), from.api, last, name, []age.Recipient{key.Recipient()}, quiet)
	if err != nil || len(items) != 2 {
		t.Fatalf("%v, %v", items, err)
	}
	file, err := os.ReadFile(name)
	if err != nil || bytes.Contains(file, []byte("memory")) {
		t.Errorf("what is in the file can be read (err %v)", err)
	}
	archive := func(b []byte) *across.Archive {
		a, err := across.Open(bytes.NewReader(b), int64(len(b)), key)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var shown int64
	b, err := across.Import(t.Context(), to.api, archive(file), across.Wish{Name: "in"}, func(n, all int, done, total int64) { shown = done })
	if err != nil || b.Name != "in" || b.Status != "COMPLETED" || shown == 0 {
		t.Fatalf("%+v, %d bytes shown, %v", b, shown, err)
	}
	copied := to.client.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(
		`{"instance":{"name":"copy","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q}}}`, b.ID)).Text("instance", "id")
	at := to.client.Await(t, copied, "ACTIVE", soon).Text("instance", "ip", 0)
	if n, _, err := to.host.Memory.Digest(t.Context(), login(at)); n != 100 || err != nil {
		t.Errorf("the copy has %d items, want 100 (err %v)", n, err)
	}

	if _, err := across.Export(t.Context(), from.api, "0199d0a1-0000-7000-8000-00000000000b", name+"2", []age.Recipient{key.Recipient()}, quiet); !gophercloud.ResponseCodeIs(err, 404) {
		t.Errorf("what is not there is exported: %v", err)
	}
	before := len(to.backups(t))
	if _, err := across.Import(t.Context(), to.api, archive(file), across.Wish{Name: "in", Version: "7"}, quiet); !gophercloud.ResponseCodeIs(err, 400) {
		t.Errorf("another version: %v", err)
	}
	long := filepath.Join(t.TempDir(), "long.backup")
	w, err := across.Create(long, items[:1], key.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Part(1<<20, io.LimitReader(rand.Reader, 1<<20)), w.Finish()); err != nil {
		t.Fatal(err)
	}
	damaged, err := os.ReadFile(long)
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1 // which is found when it is read there
	if _, err := across.Import(t.Context(), to.api, archive(damaged), across.Wish{Name: "in"}, quiet); err == nil || !strings.Contains(err.Error(), "the file is damaged") {
		t.Errorf("a damaged file: %v", err)
	}
	gone(t, to, before)
}

// gone wants so many backups to be left. Those that failed go with their parts.
func gone(t *testing.T, i installation, left int) {
	t.Helper()
	until.True(t, soon, fmt.Sprintf("%d backups are left", left), func() bool { return len(i.backups(t)) == left })
}

// failing is a transport on which sendings fail, cut after some bytes, or answered by nobody, as often as is said.
type failing struct {
	next    http.RoundTripper
	cut     atomic.Int64 // so many are cut
	dropped atomic.Int64 // the answers of so many do not arrive
}

func (f *failing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPut {
		return f.next.RoundTrip(req)
	}
	if f.cut.Add(-1) >= 0 {
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(io.MultiReader(io.LimitReader(req.Body, 10), cutOff{}))
	}
	resp, err := f.next.RoundTrip(req)
	if err == nil && f.dropped.Add(-1) >= 0 {
		resp.Body.Close()
		return nil, errors.New("the network is gone")
	}
	return resp, err
}

type cutOff struct{}

func (cutOff) Read([]byte) (int, error) { return 0, errors.New("the network is gone") }

// TestImportOverABadNetwork: what is cut is sent again, what has arrived is not, and what never arrives leaves nothing.
func TestImportOverABadNetwork(t *testing.T) {
	from, to := install(t), install(t)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "db.backup")
	if _, err := across.Export(t.Context(), from.api, from.chain(t), name, []age.Recipient{key.Recipient()}, quiet); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := across.Open(f, info.Size(), key)
	if err != nil {
		t.Fatal(err)
	}
	network := &failing{next: http.DefaultTransport}
	to.api.HTTPClient.Transport = network
	into := func(ctx context.Context) (dbext.Backup, error) {
		return across.Import(ctx, to.api, archive, across.Wish{Name: "in"}, quiet)
	}

	network.cut.Store(2)
	if b, err := into(t.Context()); err != nil || b.Status != "COMPLETED" {
		t.Fatalf("cut twice: %+v, %v", b, err)
	}
	network.cut.Store(0)
	network.dropped.Store(1)
	if b, err := into(t.Context()); err != nil || b.Status != "COMPLETED" {
		t.Fatalf("an answer is lost: %+v, %v", b, err)
	}
	if all := to.backups(t); len(all) != 4 {
		t.Fatalf("%d backups, want 4: %+v", len(all), all)
	}
	network.dropped.Store(0)
	network.cut.Store(99)
	if b, err := into(t.Context()); err == nil || !strings.Contains(err.Error(), "the network is gone") || strings.Contains(err.Error(), "could not be removed") {
		t.Errorf("a network that stays away: %+v, %v", b, err)
	}
	network.cut.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = across.Import(ctx, to.api, archive, across.Wish{Name: "in"}, func(n, _ int, _, _ int64) { // ended by a person, with the second part
		if n == 1 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "could not be removed") {
		t.Errorf("ended by a person: %v", err)
	}
	gone(t, to, 4)
}
