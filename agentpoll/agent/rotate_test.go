package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// A rotation may be cut before the gateway hears of it, or after, and the agent may be started again in between.
// Whatever happens it has a credential that works, and ends up with the new one.
func TestRotationCutAnywhere(t *testing.T) {
	for _, heard := range []bool{false, true} {
		for _, restarted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t)
				var cut atomic.Bool
				g.fault = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != agentpoll.PathRotate || !cut.CompareAndSwap(false, true) {
						return false
					}
					if heard {
						g.swallow(w, r)
					} else {
						cutOff(w)
					}
					return true
				}
				var d diary
				cfg := g.config(t, methods{"create": d.note(Traits{})})
				a, stop := start(t, cfg)
				g.until(t, "a poll", func() bool { return len(g.polls) > 0 })
				before := look(g, &g.hash)
				if err := a.Rotate(t.Context()); err == nil {
					t.Fatal("a rotation without an answer succeeded")
				}
				if restarted {
					stop()
					a, _ = start(t, cfg)
				}
				g.enqueue("c1", "create", "")
				g.result(t, "c1")
				synctest.Wait() // the agent has read that the result was taken
				if (look(g, &g.hash) != before) != heard {
					t.Errorf("heard %t, restarted %t: the credential has changed: %t", heard, restarted, look(g, &g.hash) != before)
				}
				if err := a.Rotate(t.Context()); err != nil {
					t.Errorf("heard %t, restarted %t: the next rotation: %v", heard, restarted, err)
				}
				g.enqueue("c2", "create", "")
				g.result(t, "c2")
				if want := map[bool]int64{false: 2, true: 3}[heard]; look(g, &g.sequence) != want {
					t.Errorf("heard %t, restarted %t: sequence %d, want %d", heard, restarted, look(g, &g.sequence), want)
				}
			})
		}
	}
}

// etcd may be set back to before a rotation: the gateways then know the credential of before. The agent goes on with
// that, also when it is started again, and rotates to the newer one once more.
func TestEtcdSetBackToBeforeARotation(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t)
			var d diary
			cfg := g.config(t, methods{"create": d.note(Traits{})})
			a, stop := start(t, cfg)
			g.until(t, "a poll", func() bool { return len(g.polls) > 0 })
			before := look(g, &g.hash)
			if err := a.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.enqueue("c1", "create", "")
			g.result(t, "c1")
			if look(g, &g.hash) == before {
				t.Fatal("the new credential is not in use")
			}
			if restarted {
				stop()
			}
			g.mu.Lock()
			g.hash, g.next, g.sequence = before, "", 1
			g.mu.Unlock()
			if restarted {
				a, _ = start(t, cfg)
			}
			g.enqueue("c2", "create", "")
			g.result(t, "c2")
			synctest.Wait() // the agent has read that the result was taken
			if err := a.Rotate(t.Context()); err != nil {
				t.Errorf("restarted %t: the rotation afterwards: %v", restarted, err)
			}
			g.enqueue("c3", "create", "")
			g.result(t, "c3")
			if look(g, &g.hash) == before || look(g, &g.sequence) != 2 {
				t.Errorf("restarted %t: not rotated again, sequence %d", restarted, look(g, &g.sequence))
			}
		})
	}
}

func TestRotatesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		cfg := g.config(t, methods{})
		_, stop := start(t, cfg)
		time.Sleep(10 * 24 * time.Hour) // of the bubble
		stop()
		if look(g, &g.sequence) < 10 || look(g, &g.sequence) > 15 {
			t.Errorf("sequence %d after ten days", look(g, &g.sequence))
		}
		path := filepath.Join(cfg.Dir, "identity.json")
		data, err := os.ReadFile(path)
		info, _ := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 || strings.Contains(string(data), g.token) {
			t.Errorf("identity.json: mode %s, %v", info.Mode(), err)
		}
	})
}
