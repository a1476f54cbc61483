package service

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

func TestCandidates(t *testing.T) {
	got := parseCandidates(`mariadb-server:
  Installed: (none)
  Candidate: 1:10.11.14-0+deb12u2
  Version table:
     1:10.11.14-0+deb12u2 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
postgresql-15:
  Installed: 15.14-0+deb12u1
  Candidate: 15.14-0+deb12u1
  Version table:
 *** 15.14-0+deb12u1 500
valkey-server:
  Installed: (none)
  Candidate: (none)
  Version table:
`)
	if want := map[string]string{"mariadb-server": "10.11.14", "postgresql-15": "15.14"}; !maps.Equal(got, want) {
		t.Errorf("candidates %v, want %v", got, want)
	}
}

func TestBegins(t *testing.T) {
	for _, c := range []struct {
		version, prefix string
		want            bool
	}{{"10.11.14", "10.11", true}, {"10.11", "10.11", true}, {"10.11.14", "10.1", false}, {"15.14", "15", true}, {"7.0.15", "7.0", true}, {"17.2", "1", false}, {"8.1.1", "9", false}} {
		if got := begins(c.version, c.prefix); got != c.want {
			t.Errorf("begins(%s, %s) = %v", c.version, c.prefix, got)
		}
	}
}

// TestUnservable asks the machine itself, with a program of the test's.
func TestUnservable(t *testing.T) {
	if os.Geteuid() == 0 { // nobody must be able to get there
		if err := os.Chmod(filepath.Dir(t.TempDir()), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "fooserver")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho 'fooserver (Foo) 10.11.6 of 2024'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	asNobody := filepath.Join(t.TempDir(), "nobody")
	if err := os.WriteFile(asNobody, []byte("#!/bin/sh\necho $(id -u).0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	user := strconv.Itoa(os.Geteuid())
	if user == "0" {
		user = "65534"
	}
	cases := []struct {
		name, path, version string
		packages            []string
		says                string // "": it can be served
	}{
		{"right version", program, "10.11", nil, ""},
		{"any version", program, "", nil, ""},
		{"nothing is known of it", "", "", nil, ""},
		{"its package is there", program, "10.11", []string{"dpkg"}, ""},
		{"wrong version", program, "10.1", nil, "is version 10.11.6, not 10.1"},
		{"not there", program + "-not", "10.11", nil, "is not there"},
		{"run by nobody", asNobody, user, nil, ""},
		{"cannot run", broken, "1", nil, "cannot be run"},
		{"no such package", program, "10.11", []string{"no-such-package-of-coffer"}, "no-such-package-of-coffer"},
		{"a further package is missing", program, "10.11", []string{"dpkg", "no-such-package-of-coffer"}, "no-such-package-of-coffer"},
	}
	var servers []datastores.Opinion
	for _, c := range cases {
		servers = append(servers, datastores.Opinion{Program: datastores.Program{Path: c.path, Version: c.version}, Packages: c.packages})
	}
	all := System("").Unservable(t.Context(), servers)
	for i, c := range cases {
		got := all[i]
		if c.says == "" && got != "" || !strings.Contains(got, c.says) || strings.Contains(got, "/") && !strings.Contains(got, "apt-get") {
			t.Errorf("%s: %q, want %q", c.name, got, c.says)
		}
	}
}
