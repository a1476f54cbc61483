package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
)

func TestEnrolmentSurvivesALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var lost atomic.Int32
		g.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != agentpoll.PathEnroll || lost.Add(1) > 2 {
				return false
			}
			g.swallow(w, r)
			return true
		}
		var d diary
		cfg := g.config(t, methods{"create": d.note(Traits{})})
		_, stop := start(t, cfg)
		synctest.Wait()
		stop() // before the second try

		cfg.OnEnrolled = func(reply agentpoll.EnrollReply) error {
			d.write("enrolled " + reply.AgentID + " " + string(reply.Options))
			return nil
		}
		g.enqueue("c1", "create", "")
		a, stop := start(t, cfg)
		g.result(t, "c1")
		if got := string(a.Options()); got != `{"port":3306}` {
			t.Errorf("Options = %s", got)
		}
		stop()

		cfg.Token = "used up"
		g.enqueue("c2", "create", "")
		start(t, cfg)
		g.result(t, "c2")
		enrolled := `enrolled agent-1 {"port":3306}`
		if diff := cmp.Diff([]string{enrolled, "c1", enrolled, "c2"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRunSaysWhyItCannot(t *testing.T) {
	g := newGateway(t)
	broken := g.config(t, methods{})
	broken.OnEnrolled = func(agentpoll.EnrollReply) error { return errBroken }
	noToken := g.config(t, methods{})
	noToken.Token = ""
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"options": {broken, "broken"},
		"token":   {noToken, "no enrolment token"},
	} {
		a, err := New(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Run = %v, want %q", name, err, c.want)
		}
		if err := a.Rotate(t.Context()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: Rotate = %v", name, err)
		}
	}
}

func TestOneProcessPerIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := newGateway(t).config(t, methods{})
		start(t, cfg)
		synctest.Wait()
		second, _ := New(cfg)
		if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("Run = %v, want that another process has the directory", err)
		}
	})
}

func TestConfigSaysEverythingThatIsWrong(t *testing.T) {
	_, err := New(Config{Gateways: []string{"http://example.com", "http://127.0.0.1:1", "https://a?b", "ftp://c"}, CA: "1234"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"example.com", "127.0.0.1", "a?b", "ftp://c", "ca:", "dir:", "kind", "handler"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %q: %v", want, err)
		}
	}
}

func TestStatusIsSentWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		now := make(chan string, 1)
		now <- `"up"`
		cfg := g.config(t, methods{})
		cfg.Status = func(context.Context) json.RawMessage {
			s := <-now
			now <- s
			return json.RawMessage(s)
		}
		a, _ := start(t, cfg)
		g.until(t, "the first status", func() bool { return len(g.statuses) == 1 })
		set := func(s string) { <-now; now <- s }

		set(`"down"`)
		begun := time.Now()
		g.until(t, "the second status", func() bool { return len(g.statuses) == 2 })
		if waited := time.Since(begun); waited > 10*time.Second {
			t.Errorf("a changed status took %s", waited)
		}
		set(`"up"`) // while the gateway has not answered the poll that said "down"
		begun = time.Now()
		a.StatusChanged()
		g.until(t, "the third status", func() bool { return len(g.statuses) == 3 })
		if waited := time.Since(begun); waited > time.Second {
			t.Errorf("StatusChanged took %s", waited)
		}
		time.Sleep(10 * time.Minute) // of the bubble
		g.restore("two")
		g.until(t, "the status after etcd was restored", func() bool { return len(g.statuses) == 4 })
		if diff := cmp.Diff([]string{`"up"`, `"down"`, `"up"`, `"up"`}, look(g, &g.statuses)); diff != "" {
			t.Error(diff)
		}
	})
}
