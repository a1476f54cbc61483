package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll"
)

var quiet = slog.New(slog.DiscardHandler)

func mustOpen(t testing.TB, dir string) *journal {
	t.Helper()
	j, err := openJournal(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// A crash may cut the journal anywhere. Whatever is left: a command whose finish is in it does not run again, one whose
// accept is in it runs with Repeated, every other one runs as if it were new; and each is answered.
func TestJournalCutAnywhere(t *testing.T) {
	ids := []string{"c1", "c2", "c3"}
	var whole, identity []byte
	var g *gateway
	synctest.Test(t, func(t *testing.T) {
		g = newGateway(t)
		var d diary
		cfg := g.config(t, methods{"create": d.note(Traits{})})
		_, stop := start(t, cfg)
		for _, id := range ids {
			g.enqueue(id, "create", `{"password":"x"}`)
			g.result(t, id)
		}
		stop()
		whole, _ = os.ReadFile(filepath.Join(cfg.Dir, "journal"))
		identity, _ = os.ReadFile(filepath.Join(cfg.Dir, "identity.json"))
	})
	if bytes.Contains(whole, []byte("password")) {
		t.Fatalf("the journal holds arguments: %s", whole)
	}
	hash := look(g, &g.hash)
	rapid.Check(t, func(rt *rapid.T) {
		left := whole[:rapid.IntRange(0, len(whole)).Draw(rt, "bytes")]
		if rapid.Bool().Draw(rt, "garbage behind") {
			left = append(bytes.Clone(left), "\x00\x00{"...)
		}
		var want []string
		for _, id := range ids {
			switch {
			case hasLine(left, opFinish, id):
			case hasLine(left, opAccept, id):
				want = append(want, id+" again")
			default:
				want = append(want, id)
			}
		}
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t)
			g.hash = hash
			var d diary
			cfg := g.config(t, methods{"create": d.note(Traits{})})
			write(t, filepath.Join(cfg.Dir, "journal"), left)
			write(t, filepath.Join(cfg.Dir, "identity.json"), identity)
			for _, id := range ids {
				g.enqueue(id, "create", "")
			}
			_, stop := start(t, cfg)
			for _, id := range ids {
				if r := g.result(t, id); string(r.Value) != `"`+id+`"` {
					t.Errorf("%s: %+v", id, r)
				}
			}
			stop()
			if diff := cmp.Diff(want, d.read()); diff != "" {
				t.Error(diff)
			}
		})
		if t.Failed() {
			rt.FailNow()
		}
	})
}

func hasLine(data []byte, op op, id string) bool {
	end := bytes.LastIndexByte(data, '\n') + 1
	return bytes.Contains(data[:end], fmt.Appendf(nil, `{"op":%q,"id":%q`, op, id))
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUnsentResultIsSentAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if look(g, &g.epoch) != "one" || !strings.HasSuffix(r.URL.Path, "/result") {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		var d diary
		cfg := g.config(t, methods{"create": d.note(Traits{})})
		_, stop := start(t, cfg)
		g.enqueue("c1", "create", "")
		synctest.Wait()
		begun := time.Now()
		stop()
		if took := time.Since(begun); took != 0 {
			t.Errorf("the end took %s although nothing runs", took)
		}
		g.restore("two") // without the command
		start(t, cfg)
		g.result(t, "c1")
		if diff := cmp.Diff([]string{"c1"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRestoredStoreDeliversAgainAndNothingRunsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var d diary
		start(t, g.config(t, methods{"create": d.note(Traits{}), "list": d.note(Traits{Reads: true})}))
		g.enqueue("write", "create", "")
		g.enqueue("read", "list", "")
		g.result(t, "read")
		synctest.Wait() // the agent has read that the results were taken
		g.restore("two", agentpoll.Command{ID: "write", Method: "create"}, agentpoll.Command{ID: "read", Method: "list"})
		if r := g.result(t, "write"); string(r.Value) != `"write"` {
			t.Errorf("the result from the journal is %+v", r)
		}
		g.result(t, "read")
		if diff := cmp.Diff([]string{"write", "read", "read"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

// The store that took a result may be gone before the agent knows that it was taken.
func TestStoreRestoredWhileAResultIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var once atomic.Bool
		g.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/result") || !once.CompareAndSwap(false, true) {
				return false
			}
			g.serve(httptest.NewRecorder(), r)
			g.restore("two", agentpoll.Command{ID: "read", Method: "list"})
			time.Sleep(time.Second) // of the bubble; the command is delivered again
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		var d diary
		start(t, g.config(t, methods{"list": d.note(Traits{Reads: true})}))
		g.enqueue("read", "list", "")
		g.until(t, "a second result", func() bool { return len(g.answered) == 2 })
	})
}

func TestJournalSkipsADamagedLine(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "journal"), []byte(`{"op":"finish","id":"a","at":"2026-01-01T00:00:00Z","result":{}}
{"op":"fin`+"\x00\x00"+`
{"op":"finish","id":"b","at":"2026-01-01T00:00:00Z","result":{}}
{"op":"finish","id":"torn","at"`))
	j := mustOpen(t, dir)
	_, a := j.finished("a")
	_, b := j.finished("b")
	_, torn := j.finished("torn")
	if !a || !b || torn {
		t.Errorf("finished: a %t, b %t, torn %t", a, b, torn)
	}
	if _, _, err := j.finish(agentpoll.Row{ID: "c"}, agentpoll.Result{}); err != nil {
		t.Fatal(err)
	}
	_ = j.close()
	if _, c := mustOpen(t, dir).finished("c"); !c {
		t.Error("what was written behind a torn line is lost")
	}
}

func TestJournalStaysSmall(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir)
	value, _ := json.Marshal(strings.Repeat("x", 1000))
	name := func(i int) string { return fmt.Sprintf("c%05d", i) }
	const n = 5000
	for i := range n {
		if i == 1 || i%500 == 0 {
			if _, _, err := j.accept(name(i), "create"); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := j.finish(agentpoll.Row{ID: name(i)}, agentpoll.Result{Value: value}); err != nil {
			t.Fatal(err)
		}
		if i != 1 {
			_ = j.sent(name(i))
		}
	}
	_ = j.close()
	j = mustOpen(t, dir)
	if _, ok := j.finished(name(n - keepEntries/2)); !ok {
		t.Error("a new entry is lost")
	}
	if _, ok := j.finished(name(0)); ok {
		t.Error("the oldest entry is still there")
	}
	if diff := cmp.Diff([]string{name(1)}, j.unsent()); diff != "" {
		t.Error("unsent:", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "journal"))
	if err != nil || info.Size() > 3*keepEntries*1200 || info.Mode().Perm() != 0o600 {
		t.Errorf("the journal: %d bytes, mode %s, %v", info.Size(), info.Mode(), err)
	}
}
