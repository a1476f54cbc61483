package launch

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestClaim: a directory is one process's at a time, which the second is told.
func TestClaim(t *testing.T) {
	first, second := &Stage{Config: Config{Dir: t.TempDir()}}, &Stage{}
	second.Dir = first.Dir
	if err := first.claim(); err != nil {
		t.Fatal(err)
	}
	if err := second.claim(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d,", os.Getpid())) {
		t.Errorf("the second claim: %v", err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := second.claim(); err != nil {
		t.Errorf("a claim after the first has stopped: %v", err)
	}
}
