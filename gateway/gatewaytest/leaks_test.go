package gatewaytest_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// leak is a place where something stands that must not.
type leak struct{ kind, where, what string }

const (
	inFile        = "file"
	inCommandLine = "command line"
	inEtcd        = "etcd"
)

// leaks looks for all that is in a ledger in files, command lines, and everything that etcd was ever told. Files that skip
// reports are left out.
func (s *stage) leaks(t *testing.T, l *ledger, skip func(path string) bool) (found []leak) {
	t.Helper()
	_, found = s.filesWith(t, l, skip)
	searcher := l.searcher()
	for _, line := range s.watcher.lines() {
		program, _, _ := strings.Cut(line, "\x00")
		for _, what := range searcher.in([]byte(line), "") {
			found = append(found, leak{inCommandLine, program, what})
		}
	}
	for _, kv := range s.history(t) {
		for _, what := range searcher.in(append(kv.Key, kv.Value...), "") {
			found = append(found, leak{inEtcd, fmt.Sprintf("revision %d of %s", kv.Revision, kv.Key), what})
		}
	}
	return found
}

// filesWith looks into every file of the gateway, its backups and logs, the host and its instances. seen are the names of what was
// looked at. Volumes are looked at where they are mounted.
func (s *stage) filesWith(t *testing.T, l *ledger, skip func(path string) bool) (seen map[string]bool, found []leak) {
	t.Helper()
	seen = map[string]bool{}
	searcher := l.searcher()
	look := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			return // of an instance that was deleted meanwhile
		}
		seen[filepath.Base(path)] = true
		for _, what := range searcher.in(text, path) {
			found = append(found, leak{inFile, path, what})
		}
	}
	err := filepath.WalkDir(s.machine.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "volume.img" && path != s.machine.path("token") && !skip(path) {
			look(path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	look(s.gateway.Log)
	look(s.host.Log)
	return seen, found
}

func nothing(string) bool { return false }

// tenants reports whether a file is a tenant's own: data, and what its server writes down.
func (s *stage) tenants(path string) bool {
	rest, in := strings.CutPrefix(path, s.machine.path("host/instances")+"/")
	if !in {
		return false
	}
	_, rest, _ = strings.Cut(rest, "/")
	return strings.HasPrefix(rest, "root/") || strings.HasPrefix(rest, "guest/") && (strings.Contains(rest, ".log") || strings.HasPrefix(rest, "guest/logs/"))
}

const plantedLeak = "what was planted"

// plant leaks something in each way that leaks looks for.
func (s *stage) plant(t *testing.T) {
	t.Helper()
	secret := s.secrets.make(plantedLeak)
	s.rows.know(plantedLeak, secret)
	if err := os.WriteFile(s.machine.path("gateway/planted"), []byte("in the middle of "+secret+"."), 0o600); err != nil {
		t.Fatal(err)
	}
	s.etcdctl(t, "", "put", "/planted", quoted(secret))
	s.etcdctl(t, "", "del", "/planted")
	if err := exec.Command("sh", "-c", "sleep 0.5", secret).Run(); err != nil {
		t.Fatal(err)
	}
}

// lookForLeaks looks for all secrets everywhere, and for tenants' rows and statements wherever it is not theirs. That it finds what
// is there, it shows with something planted.
func (s *stage) lookForLeaks(t *testing.T) {
	s.plant(t)
	for name, look := range map[string]struct {
		ledger *ledger
		skip   func(string) bool
	}{"secrets": {s.secrets, nothing}, "rows and statements": {s.rows, s.tenants}} {
		planted := map[string]bool{}
		for _, l := range s.leaks(t, look.ledger, look.skip) {
			if strings.HasPrefix(l.what, plantedLeak) {
				planted[l.kind] = true
				continue
			}
			t.Errorf("%s: the %s %s holds %s", name, l.kind, l.where, l.what)
		}
		for _, kind := range []string{inFile, inCommandLine, inEtcd} {
			if !planted[kind] {
				t.Errorf("%s: what was planted in a %s was not found", name, kind)
			}
		}
		t.Logf("looked for %d %s", len(look.ledger.known), name)
	}
}

// shown looks for rows and statements in what the API shows of an instance.
func (o *operations) shown() {
	o.t.Helper()
	searcher, at := o.rows.searcher(), gatewaytest.Instance(o.id)
	admin := o.admin
	for _, path := range []string{at, at + "/events", at + "/why", at + "/backups", "/mgmt" + at} {
		a := admin.Do(o.t, http.MethodGet, path, "")
		if found := searcher.in(a.Body, ""); len(found) > 0 {
			o.t.Errorf("%s shows %s", path, strings.Join(found, ", "))
		}
	}
}
