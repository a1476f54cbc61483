package keyring

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Two gateways that are started at once in one directory must not each believe in a key of their own.
func TestKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	rings := make([]*Keyring, 8)
	var starting sync.WaitGroup
	for i := range rings {
		starting.Go(func() {
			var err error
			if rings[i], err = Load(path, true); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	if t.Failed() {
		return
	}
	sealed := rings[0].Seal("/place", []byte("secret"))
	for _, ring := range rings {
		if got, err := ring.Open("/place", sealed); string(got) != "secret" {
			t.Errorf("opened as %q, %v", got, err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(files) != 1 {
		t.Errorf("files beside the keys: %q", files)
	}
	if _, err := Load(path+"2", false); err == nil {
		t.Error("a key file was made that nobody asked for")
	}
}

// What is sealed with the gateways' key must be in the table of sealed places, or a rotation of the key would lose it.
func TestEverySealedPlaceIsResealed(t *testing.T) {
	known := map[string]int{"plan/backups.go": 1, "plan/commands.go": 1, "plan/drills.go": 1, "plan/replication.go": 1, "plan/cluster.go": 1, "control/trust.go": 2, "plan/modules.go": 1, "keyring/sealed.go": 1, "takeover/sets.go": 1} // calls of Keyring.Seal
	files, err := filepath.Glob("../*/*.go")
	more, _ := filepath.Glob("../*.go")
	if files = append(files, more...); err != nil || len(files) < 100 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	seals := regexp.MustCompile(`\bk(eys)?\.Seal\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		file, _ = filepath.Rel("..", file)
		if n := len(seals.FindAll(text, -1)); n != known[file] && !strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s seals at %d places, %d are known: add what it seals to sealedPlaces, then here", file, n, known[file])
		}
	}
}
