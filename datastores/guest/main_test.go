package guest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
)

func runProgram(t *testing.T, env map[string]string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	p := program{(&inmemory.Datastore{}).Plugin(), func(name string) string { return env[name] }, strings.NewReader(env["stdin"]), &out, &err}
	code = p.run(t.Context(), args)
	return out.String(), err.String(), code
}

func TestDescribe(t *testing.T) {
	out, _, code := runProgram(t, nil, "describe")
	var m datastores.Manifest
	if err := json.Unmarshal([]byte(out), &m); err != nil || code != 0 || m.Manager != "memory" || len(m.Offers) != 2 {
		t.Errorf("describe: %v, exit %d, %s", err, code, out)
	}
}

func TestCheck(t *testing.T) {
	stdin := `{} {"hue":"red","mount_point":7,"packages":["no-such-package-of-coffer"]}{"mount_point":"x"} {"packages":["no-such-package-of-coffer"]}`
	for _, args := range [][]string{{"check"}, {"check", "-options-only"}} { // as earlier releases ask
		out, stderr, code := runProgram(t, map[string]string{"stdin": stdin}, args...)
		var got []datastores.Opinion
		for line := range strings.Lines(out) {
			var v datastores.Opinion
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(err)
			}
			got = append(got, v)
		}
		if code != 0 || len(got) != 4 {
			t.Fatalf("%q: exit %d, %s%s", args, code, out, stderr)
		}
		if len(got[0].Problems) != 0 || len(got[1].Problems) != 2 || len(got[2].Problems) != 1 {
			t.Errorf("%q: %s", args, out)
		}
		for i, path := range []string{"hue: unknown option", "mount_point: want a string"} {
			if !strings.HasPrefix(got[1].Problems[i], path) {
				t.Errorf("problem %q, want %q", got[1].Problems[i], path)
			}
		}
		if needs := got[3].Packages; len(needs) != 1 || needs[0] != "no-such-package-of-coffer" {
			t.Errorf("%q: it needs %q", args, needs)
		}
	}
	if _, stderr, code := runProgram(t, map[string]string{"stdin": "{} x"}, "check"); code != 1 || !strings.Contains(stderr, "cannot read") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// TestDescribeForEtcdctl reads the lines as etcdctl does.
func TestDescribeForEtcdctl(t *testing.T) {
	out, _, _ := runProgram(t, nil, "describe", "-format", "etcdctl")
	lines := strings.Split(strings.Trim(out, "\n"), "\n")
	for i, key := range []string{"/server/datastores/memory/1", "/guest/datastores/memory/1"} {
		rest, ok := strings.CutPrefix(lines[i], "put "+key+" ")
		var value string
		if _, err := fmt.Sscanf(rest, "%q", &value); !ok || err != nil || !json.Valid([]byte(value)) {
			t.Errorf("line %d: %s", i, lines[i])
		}
	}
	if !strings.HasPrefix(out, "\nput ") || !strings.HasSuffix(out, "\n\n\n") {
		t.Errorf("not a transaction as etcdctl reads it: %q", out)
	}
}

func TestDescribeInFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "definitions")
	for range 2 {
		if _, stderr, code := runProgram(t, nil, "describe", "-format", "files", "-o", dir); code != 0 {
			t.Fatalf("exit %d, %s", code, stderr)
		}
	}
	for _, half := range []string{"server", "guest"} {
		if b, err := os.ReadFile(filepath.Join(dir, half, "datastores/memory/1.json")); err != nil || !json.Valid(b) {
			t.Errorf("%s half: %s, %v", half, b, err)
		}
	}
}

func TestQuotesOfDescribe(t *testing.T) {
	var b bytes.Buffer
	m := datastores.Manifest{Offers: []datastores.Offer{{Datastore: "d", Version: "1", Guest: json.RawMessage(`{"a":"$(id) 'x' \"` + "`" + `"}`)}}}
	if err := writePuts(&b, m); err != nil {
		t.Fatal(err)
	}
	var value string
	_, rest, _ := strings.Cut(b.String(), "put /guest/datastores/d/1 ")
	if _, err := fmt.Sscanf(rest, "%q", &value); err != nil || strings.ContainsAny(value, "$`") {
		t.Errorf("%s: %v", rest, err)
	}
	var got struct{ A string }
	if err := json.Unmarshal([]byte(value), &got); err != nil || got.A != "$(id) 'x' \"`" {
		t.Errorf("%q, %v", got.A, err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		env  map[string]string
		code int
		says string
	}{
		{nil, nil, 2, "usage: memory-guest run"},
		{[]string{"dance"}, nil, 2, "usage:"},
		{[]string{"run", "-x"}, nil, 2, "not defined: -x"},
		{[]string{"run", "-h"}, nil, 0, "-config"},
		{[]string{"run"}, nil, 1, "COFFER_GUEST_CONFIG"},
		{[]string{"run"}, map[string]string{"COFFER_GUEST_CONFIG": "/does/not/exist"}, 1, "/does/not/exist"},
		{[]string{"run", "-config", "/flag"}, map[string]string{"COFFER_GUEST_CONFIG": "/env"}, 1, "/flag"},
		{[]string{"run"}, map[string]string{"COFFER_GUEST_ALLOW_HTTP": "maybe"}, 1, "COFFER_GUEST_ALLOW_HTTP"},
		{[]string{"describe", "-format", "xml"}, nil, 1, "not json, etcdctl or files"},
		{[]string{"describe", "-format", "files"}, nil, 1, "-o"},
		{[]string{"describe", "x"}, nil, 1, "too many"},
		{[]string{"version"}, nil, 0, ""},
	} {
		_, stderr, code := runProgram(t, c.env, c.args...)
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%q: exit %d, %s", c.args, code, stderr)
		}
	}
}
