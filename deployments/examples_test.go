package deployments_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

const (
	example = "examples/memcached"
	second  = "examples/influxdb"
	third   = "examples/etcd"
	module  = "github.com/cofferdb/coffer"
	version = "v0.1.0" // the one that docs/datastores.md gets
)

// TestMemcachedExample does what the page for authors says, command by command, with this module as a published version: a
// zip behind a module proxy. The suite runs in that build.
func TestMemcachedExample(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/bin/memcached", "memcached")
	datastoretest.Require(t, "/usr/bin/dpkg-deb", "dpkg")
	if runtime.GOARCH != "amd64" {
		t.Skipf("NOT TESTED: the commands of the page are for amd64, this is %s", runtime.GOARCH)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(root, filepath.Join(dir, "coffer")); err != nil {
		t.Fatal(err)
	}
	cache := strings.TrimSpace(run(t, nil, root, "go", "env", "GOMODCACHE"))
	env := append(os.Environ(),
		"GOPROXY=file://"+pack(t, root)+",file://"+filepath.Join(cache, "cache/download")+","+strings.TrimSpace(run(t, nil, root, "go", "env", "GOPROXY")),
		"GOMODCACHE="+t.TempDir(), // the version is made anew each time
		"GOFLAGS=-mod=mod -modcacherw -buildvcs=false", "GOSUMDB=off", "GOWORK=off",
	)
	for _, script := range commands(t, "author") {
		if strings.HasPrefix(script, "cp ") {
			run(t, env, dir, "/bin/sh", "-exc", script)
			dir = filepath.Join(dir, "coffer-memcached")
			continue
		}
		t.Log(run(t, env, dir, "/bin/sh", "-exc", script))
	}

	packaged := t.TempDir()
	run(t, nil, dir, "dpkg-deb", "-x", "coffer-memcached-guest_0.1.0_amd64.deb", packaged)
	guest := filepath.Join(packaged, "usr/lib/coffer/guests/memcached-guest")
	if info, err := os.Stat(guest); err != nil || info.Mode() != 0o755 {
		t.Fatalf("the package brings %v, %v", info, err)
	}
	var manifest datastores.Manifest
	if err := json.Unmarshal([]byte(run(t, nil, dir, guest, "describe")), &manifest); err != nil || manifest.Manager != "memcached" {
		t.Errorf("describe: %+v, %v", manifest, err)
	}
	if text := run(t, nil, dir, "go", "version", "-m", guest); !strings.Contains(text, module+"\t"+version+"\t") || strings.Contains(text, "=>") {
		t.Errorf("the guest is not of the version:\n%s", text)
	}
	for path := range strings.FieldsSeq(run(t, env, dir, "go", "list", "-deps", "-test", "./...")) {
		if strings.HasPrefix(path, module+"/") && strings.Contains(path, "/internal/") {
			t.Errorf("it uses %s, which is not for everybody", path)
		}
	}
}

// TestInfluxDBExample does what the page says of the second example, with a checkout in the place of a published version.
func TestInfluxDBExample(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/bin/influxd", "influxdb")
	dir := fromCheckout(t, "second")
	dir = filepath.Join(dir, "coffer-influxdb")
	half := filepath.Join(dir, "definitions/guest/datastores/influxdb/1.6.json")
	text, err := os.ReadFile(half)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(half, bytes.Replace(text, []byte(`"cache_percent": 20`), []byte(`"cache_percent": 99`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lint := exec.CommandContext(ctx, "../bin/coffer", "definitions", "lint", "definitions", "--guests", ".")
	lint.Dir = dir
	if out, err := lint.CombinedOutput(); err == nil || !strings.Contains(string(out), "1.6.json: cache_percent: 99 is not 5 to 50") {
		t.Errorf("of an option out of its range lint says %v: %s", err, out)
	}
}

// TestEtcdExample does the same for the third, which is a cluster.
func TestEtcdExample(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server")
	fromCheckout(t, "third")
}

// fromCheckout runs the page's commands of a mark in an empty directory, with this checkout in it and `coffer` in the path.
func fromCheckout(t *testing.T, mark string) (dir string) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.Symlink(root, filepath.Join(dir, "coffer")); err != nil {
		t.Fatal(err)
	}
	run(t, append(os.Environ(), "CGO_ENABLED=0"), root, "go", "build", "-trimpath", "-o", filepath.Join(dir, "bin")+"/", "./gateway/cmd/coffer")
	env := append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off")
	t.Log(run(t, env, dir, "/bin/sh", "-exc", strings.Join(commands(t, mark), "")))
	return dir
}

// TestPageShowsTheExamples: the code on the page is that of the examples, to the letter.
func TestPageShowsTheExamples(t *testing.T) {
	var code strings.Builder
	for _, dir := range []string{example, second, third} {
		for _, pattern := range []string{"/*.go", "/cmd/*/main.go"} {
			files, err := filepath.Glob(dir + pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				code.Write(text)
			}
		}
	}
	snippets := fences(t, "```go\n")
	if len(snippets) < 5 {
		t.Errorf("the page shows %d pieces of code", len(snippets))
	}
	for _, s := range snippets {
		if !strings.Contains(code.String(), s) {
			t.Errorf("the example does not have\n%s", s)
		}
	}
	for _, dir := range []string{example, second, third} {
		text, err := os.ReadFile(dir + "/go.mod")
		if err != nil || strings.Contains(string(text), "replace") || !strings.Contains(string(text), module+" "+version) {
			t.Errorf("%v; go.mod is not an outsider's:\n%s", err, text)
		}
	}
}

// TestEveryCommandIsRun: a block of commands on the page is marked with who runs it, or it is not tested.
func TestEveryCommandIsRun(t *testing.T) {
	all := fences(t, "```sh\n")
	marked := slices.Concat(commands(t, "author"), commands(t, "second"), commands(t, "third"), commands(t, "operator"))
	if len(all) != len(marked) || len(all) == 0 {
		t.Errorf("%d blocks of commands, of which %d are run", len(all), len(marked))
	}
}

// commands are the blocks of the page that are marked so.
func commands(t *testing.T, mark string) []string { return fences(t, "<!-- "+mark+" -->\n```sh\n") }

func fences(t *testing.T, begin string) []string {
	t.Helper()
	page, err := os.ReadFile(datastoresPage)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile(`(?s)`+regexp.QuoteMeta(begin)+"(.*?)```\n").FindAllSubmatch(page, -1) {
		found = append(found, string(m[1]))
	}
	return found
}

// pack makes a module proxy of this module as it lies here, but for what has a go.mod of its own, as the go command does.
func pack(t *testing.T, root string) string {
	t.Helper()
	proxy := t.TempDir()
	dir := filepath.Join(proxy, module, "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for name := range strings.SplitSeq(run(t, nil, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil || !info.Mode().IsRegular() || ofAnotherModule(root, name) {
			continue
		}
		if err := addFile(w, filepath.Join(root, name), module+"@"+version+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"list": []byte(version + "\n"), version + ".mod": gomod, version + ".zip": archive.Bytes(),
		version + ".info": []byte(`{"Version":"` + version + `","Time":"2026-01-01T00:00:00Z"}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return proxy
}

func ofAnotherModule(root, name string) bool {
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(root, dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

func addFile(w *zip.Writer, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	entry, err := w.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(entry, f)
	return err
}

// run runs a program to its end and returns its standard output.
func run(t *testing.T, env []string, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = env, dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}
