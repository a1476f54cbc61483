package couchbasetest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cofferdb/coffer/datastores/couchbase/couchbasetest/double"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// Programs is a directory with the double's programs, of each version in a directory of its own.
type Programs string

// Build builds them. They are gone with the test.
func Build(t testing.TB) Programs {
	t.Helper()
	const program = "github.com/cofferdb/coffer/datastores/couchbase/couchbasetest/cmd/couchbase-double"
	return Programs(datastoretest.BuildDouble(t, program, []string{"7.6", "8.0"}, []string{"couchbase-server", "cbbackupmgr"}))
}

// Dir is where the programs of a version are.
func (p Programs) Dir(version string) string { return filepath.Join(string(p), version) }

// Server is the path of a version's server.
func (p Programs) Server(version string) string {
	return filepath.Join(p.Dir(version), "couchbase-server")
}

// Place tells a double that works in dir, its var directory, at which address to listen. A Couchbase Server takes every address of its
// network namespace; doubles of tests share one.
func Place(t testing.TB, dir, address string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, double.AddressFile), []byte(address), 0o644); err != nil {
		t.Fatal(err)
	}
}
