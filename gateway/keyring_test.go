package gateway

import (
	"path/filepath"
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
