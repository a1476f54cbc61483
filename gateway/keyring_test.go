package gateway

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

// Two gateways that are started at once in one directory must not each believe in a key of their own.
func TestKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	rings := make([]*Keyring, 8)
	var starting sync.WaitGroup
	for i := range rings {
		starting.Go(func() {
			var err error
			if rings[i], err = LoadKeyring(path, true); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	if t.Failed() {
		return
	}
	sealed := rings[0].seal("/place", []byte("secret"))
	for _, ring := range rings {
		if got, err := ring.open("/place", sealed); string(got) != "secret" {
			t.Errorf("opened as %q, %v", got, err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(files) != 1 {
		t.Errorf("files beside the keys: %q", files)
	}
	if _, err := LoadKeyring(path+"2", false); err == nil {
		t.Error("a key file was made that nobody asked for")
	}
}

// What is sealed with the gateways' key must be in the table of sealed places, or a rotation of the key would lose it.
func TestEverySealedPlaceIsResealed(t *testing.T) {
	known := map[string]int{"backup_record.go": 1, "owncertificate.go": 1, "plan_replication.go": 1, "plan_commands.go": 1, "sealed.go": 1, "trust.go": 1} // calls of Keyring.seal
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seals := regexp.MustCompile(`\bk(eys)?\.seal\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(seals.FindAll(text, -1)); n != known[file] && !strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s seals at %d places, %d are known: add what it seals to sealedPlaces, then here", file, n, known[file])
		}
	}
}

// The gateways' own CA goes on when the key file is rotated.
func TestResealKeepsTheAuthority(t *testing.T) {
	store := etcdtest.New(t)
	first, second := NewKeyLine(), NewKeyLine()
	ring := func(text string) *Keyring {
		t.Helper()
		keys, err := ParseKeyring(text)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	before, err := OwnAuthorities(t.Context(), store, ring(first))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := Reseal(t.Context(), store, ring(second+first)); n != 1 || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
	after, err := OwnAuthorities(t.Context(), store, ring(second))
	if err != nil || string(after[0].PEM()) != string(before[0].PEM()) {
		t.Errorf("another CA: %v", err)
	}
}
