package gatewaytest

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
	"github.com/cofferdb/coffer/datastores/guest"
)

// StartMachine does what a machine does that boots with the user-data of an instance without a host: it runs a guest, over
// the datastore "memory", with the configuration that the user-data writes, below a directory of the test and at g.
func StartMachine(t testing.TB, g *Gateway, userData string) *inmemory.Datastore {
	t.Helper()
	cfg := GuestConfig(t, userData)
	root := t.TempDir()
	cfg.Gateways, cfg.Dir, cfg.Root, cfg.UID, cfg.GID = []string{g.URL}, filepath.Join(root, cfg.Dir), root, -1, -1
	cfg.AllowHTTP = true // as the test's gateway speaks
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	memory := new(inmemory.Datastore)
	machine, err := guest.New(guest.Config{Plugin: memory.Plugin(), Version: "test", Guest: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(machine.Run))
	return memory
}

// GuestConfig is the configuration that an instance's user-data writes.
func GuestConfig(t testing.TB, userData string) (cfg datastores.GuestConfig) {
	t.Helper()
	var cloud struct {
		WriteFiles []struct {
			Path    string `yaml:"path"`
			Content string `yaml:"content"`
		} `yaml:"write_files"`
	}
	if err := yaml.Unmarshal([]byte(userData), &cloud); err != nil {
		t.Fatalf("user-data: %v", err)
	}
	for _, f := range cloud.WriteFiles {
		if !strings.HasSuffix(f.Path, "guest.json") {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(f.Content)
		if err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
		if err := json.Unmarshal(raw, &cfg); err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
	}
	return cfg
}
