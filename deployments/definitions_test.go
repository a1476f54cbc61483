package deployments_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/cassandra"
	"github.com/cofferdb/coffer/datastores/couchbase"
	"github.com/cofferdb/coffer/datastores/mongodb"
	"github.com/cofferdb/coffer/datastores/mysql"
	"github.com/cofferdb/coffer/datastores/postgresql"
	"github.com/cofferdb/coffer/datastores/redis"
)

// plugins are those of this repository.
func plugins() []datastores.Plugin {
	return []datastores.Plugin{cassandra.Plugin(), couchbase.Plugin(), mongodb.Plugin(), mysql.Plugin(), postgresql.Plugin(), redis.Plugin()}
}

// TestDefinitionsAreWhatThePluginsSay holds the built-in definitions against the manifests that they come from.
func TestDefinitionsAreWhatThePluginsSay(t *testing.T) {
	for _, plugin := range plugins() {
		for _, offer := range plugin.Manifest().Offers {
			server, err := json.Marshal(offer.Server)
			if err != nil {
				t.Fatal(err)
			}
			for half, said := range map[string][]byte{"server": server, "guest": offer.Guest} {
				path := filepath.Join("definitions", half, "datastores", offer.Datastore, offer.Version+".json")
				if *update {
					write(t, path, said)
				}
				file, err := os.ReadFile(path)
				if err != nil {
					t.Errorf("%s %s is offered, but not defined: %v", offer.Datastore, offer.Version, err)
					continue
				}
				var inFile, inManifest any
				if err := json.Unmarshal(file, &inFile); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				if err := json.Unmarshal(said, &inManifest); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(inManifest, inFile); diff != "" {
					t.Errorf("%s (-manifest +file):\n%s", path, diff)
				}
			}
		}
	}
}

// write puts a value into a file of the definitions, a line for each member.
func write(t *testing.T, path string, value []byte) {
	t.Helper()
	var lines bytes.Buffer
	if err := json.Indent(&lines, value, "", "  "); err != nil {
		t.Fatal(err)
	}
	lines.WriteByte('\n')
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, lines.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
