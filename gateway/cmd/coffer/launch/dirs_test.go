package launch

import (
	"os"
	"path/filepath"
	"testing"
)

// TestGuestsOfAUsersCheckout: as root, what others may write is copied to where it is root's; else it is run where it is.
func TestGuestsOfAUsersCheckout(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root has to be careful")
	}
	for name, c := range map[string]struct {
		spoil  func(dir string) error
		copied bool
	}{
		"root's":         {func(string) error { return nil }, false},
		"a user's":       {func(dir string) error { return os.Chown(dir, 4711, 4711) }, true},
		"a group writes": {func(dir string) error { return os.Chmod(filepath.Join(dir, "guests"), 0o775) }, true},
		"a user's file":  {func(dir string) error { return os.Chown(filepath.Join(dir, "guests/x-guest"), 4711, 0) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			if err := os.Mkdir(filepath.Join(bin, "guests"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bin, "guests/x-guest"), []byte("x"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(bin); err != nil {
				t.Fatal(err)
			}
			s := &Stage{Config: Config{Bin: bin, Dir: t.TempDir(), Say: t.Logf}}
			t.Cleanup(func() { _ = os.RemoveAll(s.HostDir()) })
			for range 2 {
				dir, err := s.guestDir()
				if err != nil {
					t.Fatal(err)
				}
				if c.copied == (dir == filepath.Join(bin, "guests")) || others(dir) {
					t.Errorf("they run from %s", dir)
				}
				if b, err := os.ReadFile(filepath.Join(dir, "x-guest")); err != nil || string(b) != "x" {
					t.Errorf("the program is %q, %v", b, err)
				}
			}
		})
	}
}
