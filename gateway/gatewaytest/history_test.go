package gatewaytest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// revision is a value that a key had once.
type revision struct {
	Key      []byte
	Value    []byte
	Revision int64 `json:"mod_revision"`
}

// chronicle is everything that an etcd is told, from its first revision on. It is written down as it happens: etcd itself forgets
// what is older than ten minutes or so.
type chronicle struct {
	etcd string
	told chan revision
	err  error // why no more is told, once told is closed
	all  []revision
}

// keepChronicle begins one, which ends with the test.
func keepChronicle(t *testing.T, etcd string) *chronicle {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "etcdctl", "watch", "/", "--prefix", "--rev=1", "-w", "json")
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+etcd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &chronicle{etcd: etcd, told: make(chan revision, 1<<18)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(c.told)
		c.err = c.listen(out)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	return c
}

func (c *chronicle) listen(out io.Reader) error {
	for answers := json.NewDecoder(out); ; {
		var answer struct {
			CompactRevision int64
			Events          []struct{ Kv revision }
		}
		if err := answers.Decode(&answer); err != nil {
			return err
		}
		if answer.CompactRevision > 0 {
			return fmt.Errorf("etcd has forgotten what was before revision %d", answer.CompactRevision)
		}
		for _, event := range answer.Events {
			select {
			case c.told <- event.Kv:
			default:
				return errors.New("etcd was told more than a chronicle has room for")
			}
		}
	}
}

// until is all that etcd was told before the key end was put.
func (c *chronicle) until(t *testing.T, end string) []revision {
	t.Helper()
	for kv := range c.told {
		if string(kv.Key) == end {
			return c.all
		}
		c.all = append(c.all, kv)
	}
	t.Fatalf("the history of etcd has a hole: %v", c.err)
	return nil
}

// history is all that etcd was told until now.
func (s *stage) history(t *testing.T) []revision {
	t.Helper()
	end := fmt.Sprintf("/z-end-of-history/%d", len(s.chronicle.all))
	s.etcdctl(t, "", "put", end, "x")
	return s.chronicle.until(t, end)
}
