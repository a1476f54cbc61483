package gatewaytest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

var makeReleased = flag.Bool("make-released", false, "write testdata/released anew, from what the programs of this commit make")

// make goes through what leaves records of every kind, and keeps what there is then.
func (r *released) make(t *testing.T) {
	etcd := etcdtest.Start(t)
	put := exec.CommandContext(t.Context(), "/bin/sh", "-e", "./put.sh", "guest/datastores/redis/7.0.json", "server/datastores/redis/7.0.json",
		"server/datastores/redis.json", "server/flavors/1.json", "server/flavors/2.json")
	put.Dir = filepath.Join("..", "..", "deployments", "definitions")
	put.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+etcd.Endpoint())
	if out, err := put.CombinedOutput(); err != nil {
		t.Fatalf("put.sh: %v\n%s", err, out)
	}
	c, stop := r.start(t, etcd)
	group := c.Want(t, http.StatusOK, http.MethodPost, "/configurations",
		`{"configuration":{"name":"lru","datastore":{"type":"redis","version":"7.0"},"values":{"maxmemory-policy":"allkeys-lru"}}}`).Text("configuration", "id")
	alone := r.create(t, c, "alone", fmt.Sprintf(releasedFresh+`,"configuration":%q`, group))
	source := r.create(t, c, "source", releasedFresh)
	for _, id := range []string{alone, source} {
		root := c.Want(t, http.StatusOK, http.MethodPost, gatewaytest.Instance(id)+"/root", "")
		r.write(t, "password of "+id, root.Text("user", "password"))
		address := c.Await(t, id, "ACTIVE", lifeTimeout).Text("instance", "ip", 0)
		if n, err := redisStore.write(t.Context(), redisStore.login(address, root.Text("user", "password")), 0, releasedItems); err != nil {
			t.Fatalf("%d items: %v", n, err)
		}
	}
	r.create(t, c, "replica", fmt.Sprintf(`"replica_of":%q`, source))
	r.backUp(t, c, "kept", alone)
	c.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(alone)+"/action", `{"restart":{}}`)
	c.Await(t, alone, "ACTIVE", lifeTimeout)
	stop()
	r.sweep() // as the machine's end does
	r.keepRecords(t, etcd)
	r.keepFiles(t)
}

// keepRecords writes what was in etcd, but for what would be gone within the hour.
func (r *released) keepRecords(t *testing.T, etcd *etcdtest.Server) {
	t.Helper()
	all := etcd.All(t, "/")
	maps.DeleteFunc(all, func(key, _ string) bool {
		return slices.ContainsFunc([]string{"/guest/enrolments/", "/guest/presence/", "/guest/results/", "/server/gateways/"}, func(prefix string) bool {
			return strings.HasPrefix(key, prefix)
		})
	})
	var records []releasedRecord
	for _, key := range slices.Sorted(maps.Keys(all)) {
		records = append(records, releasedRecord{key, json.RawMessage(all[key])})
	}
	keep(t, "etcd.json", records)
}

// keepFiles writes the files with their owners and modes. Text stays text.
func (r *released) keepFiles(t *testing.T) {
	t.Helper()
	var files []releasedFile
	err := fs.WalkDir(os.DirFS(r.dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := releasedFile{Path: path, Mode: info.Mode().String(), UID: int(info.Sys().(*syscall.Stat_t).Uid)}
		if d.Type().IsRegular() {
			content, err := os.ReadFile(r.path(path))
			if err != nil {
				return err
			}
			if f.Text = string(content); !utf8.Valid(content) {
				f.Text, f.Bytes = "", content
			}
		}
		if d.Type()&fs.ModeSocket == 0 {
			files = append(files, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	keep(t, "files.json", files)
}

func keep(t *testing.T, name string, content any) {
	t.Helper()
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := errors.Join(e.Encode(content), os.MkdirAll(releasedData, 0o755), os.WriteFile(filepath.Join(releasedData, name), text.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}
