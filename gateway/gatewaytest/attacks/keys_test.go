package attacks

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// TestH7RotatingTheKeyFile follows docs/operations.md step by step with backups there, and restores one afterwards; and does what the
// documents said before, dropping the old key at once, which destroyed every backup.
func TestH7RotatingTheKeyFile(t *testing.T) {
	store := etcdtest.New(t)
	gatewaytest.Define(t, store)
	blobs, err := blobstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys")
	first, second := keyring.NewLine(), keyring.NewLine()
	write := func(lines ...string) *keyring.Keyring {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := keyring.Load(file, false)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	with := func(keys *keyring.Keyring) gatewaytest.Option {
		return func(c *gateway.Config) { c.Keys, c.Blobs = keys, blobs }
	}
	g := gatewaytest.Start(t, store, with(write(first)))
	host := gatewaytest.StartHost(t, g)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", patience)
	backup := c.Want(t, http.StatusAccepted, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id)).Text("backup", "id")
	awaitTrue(t, "the backup", func() bool {
		return c.Do(t, http.MethodGet, "/backups/"+backup, "").Text("backup", "status") == "COMPLETED"
	})
	restart := func(keys *keyring.Keyring) {
		t.Helper()
		g.Stop(t)
		g = gatewaytest.StartAt(t, store, strings.TrimPrefix(g.URL, "http://"), with(keys))
		g.Client(gatewaytest.Admin).AwaitHost(t, host.ID)
	}

	tokens := gateway.Config{Store: store, Log: slog.New(slog.DiscardHandler)}
	tokens.Keys = write(second)
	if early, err := gateway.Open(t.Context(), tokens); err == nil {
		_ = early.Close(context.WithoutCancel(t.Context()), nil)
		t.Fatal("a gateway has started without a key that is in use")
	} else if !strings.Contains(err.Error(), strings.Fields(first)[0]) {
		t.Errorf("the refusal does not name the key: %v", err)
	}
	restart(write(first, second)) // 1
	keys := write(second, first)  // 2
	restart(keys)
	if n, err := keyring.Reseal(t.Context(), store, keys); n != 3 || err != nil { // 3: the keys of backups and of the CA of the project, and of commands
		t.Errorf("%d records were sealed anew, %v", n, err)
	}
	if n, err := keyring.Reseal(t.Context(), store, keys); n != 0 || err != nil {
		t.Errorf("again: %d records, %v", n, err)
	}
	inUse, err := keyring.InUse(t.Context(), store) // 4
	if err != nil || inUse[strings.Fields(first)[0]] != 0 || inUse[strings.Fields(second)[0]] != 3 {
		t.Errorf("in use: %v, %v", inUse, err)
	}
	restart(write(second)) // 5

	copied := c.Want(t, http.StatusOK, http.MethodPost, "/instances",
		fmt.Sprintf(`{"instance":{"name":"copy","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q}}}`, backup)).Text("instance", "id")
	c.Await(t, copied, "ACTIVE", patience)
}

// TestEKeyFileThatOthersMayRead gives a gateway a key file as an umask leaves it.
func TestEKeyFileThatOthersMayRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o644: false, 0o602: false} {
		if err := os.WriteFile(file, []byte(keyring.NewLine()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := keyring.Load(file, false); (err == nil) != good {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}
