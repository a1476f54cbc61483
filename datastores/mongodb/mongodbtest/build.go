package mongodbtest

import (
	"path/filepath"
	"testing"

	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// Programs is a directory with the double's programs, of each version in a directory of its own.
type Programs string

// Build builds them. They are gone with the test.
func Build(t testing.TB) Programs {
	t.Helper()
	const double = "github.com/cofferdb/coffer/datastores/mongodb/mongodbtest/cmd/mongod-double"
	return Programs(datastoretest.BuildDouble(t, double, []string{"7.0", "8.0"}, []string{"mongod", "mongodump", "mongorestore"}))
}

// Dir is where the programs of a version are.
func (p Programs) Dir(version string) string { return filepath.Join(string(p), version) }

// Mongod is the path of a version's server.
func (p Programs) Mongod(version string) string { return filepath.Join(p.Dir(version), "mongod") }
