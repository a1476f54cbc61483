package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
)

func TestQueueIsFirstInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var d diary
		start(t, g.config(t, methods{"create": d.note(Traits{}), "list": d.note(Traits{Reads: true})}))
		var want []string
		for i := range 20 {
			id := fmt.Sprintf("c%02d", i)
			want = append(want, id)
			g.enqueue(id, []string{"create", "list"}[i%2], "")
		}
		g.result(t, want[19])
		if diff := cmp.Diff(want, d.read()); diff != "" {
			t.Error("ran:", diff)
		}
		if diff := cmp.Diff(want, look(g, &g.answered)); diff != "" {
			t.Error("answered:", diff)
		}
	})
}

// waits is a method that runs until its context ends, or for d.
func waits(d *diary, traits Traits, length time.Duration) method {
	return method{traits, func(ctx context.Context, cmd Command) (json.RawMessage, error) {
		d.write(cmd.ID)
		select {
		case <-time.After(length):
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

func TestLongRunsBesideShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var d diary
		start(t, g.config(t, methods{"backup": waits(&d, Traits{Long: true}, time.Hour/2), "create": d.note(Traits{})}))
		begun := time.Now()
		g.enqueue("long 1", "backup", "")
		g.enqueue("long 2", "backup", "")
		g.enqueue("short", "create", "")
		g.result(t, "short")
		if waited := time.Since(begun); waited > time.Second {
			t.Errorf("the short one waited %s", waited)
		}
		g.until(t, "a poll that lists what runs", func() bool { return slices.Equal(g.running, []string{"long 1", "long 2"}) })
		g.result(t, "long 1")
		if waited := time.Since(begun); waited < time.Hour/2 || slices.Contains(look(g, &g.answered), "long 2") {
			t.Errorf("long ones do not run one at a time: %v after %s", look(g, &g.answered), waited)
		}
	})
}

func TestLongOnesRunBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var d diary
		cfg := g.config(t, methods{"check": waits(&d, Traits{Long: true}, time.Minute)})
		cfg.Long = 3
		start(t, cfg)
		begun := time.Now()
		for i := range 4 {
			g.enqueue(fmt.Sprint("check ", i), "check", "")
		}
		g.result(t, "check 2")
		if waited := time.Since(begun); waited > time.Minute+time.Second {
			t.Errorf("the third waited %s", waited)
		}
		g.result(t, "check 3")
		if waited := time.Since(begun); waited < 2*time.Minute {
			t.Errorf("the fourth ran beside three, after %s", waited)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var d diary
		start(t, g.config(t, methods{
			"backup": waits(&d, Traits{Long: true}, time.Hour), "restart": waits(&d, Traits{}, time.Minute),
		}))
		for _, id := range []string{"long", "long waiting"} {
			g.enqueue(id, "backup", "")
		}
		for _, id := range []string{"short", "short waiting"} {
			g.enqueue(id, "restart", "")
		}
		synctest.Wait()
		g.change(func() { g.cancelled = []string{"nobody", "long", "long waiting", "short", "short waiting"} })
		for _, id := range []string{"long", "long waiting", "short waiting"} {
			if r := g.result(t, id); r.Error == nil || r.Error.Kind != agentpoll.Cancelled {
				t.Errorf("%s: %+v, want it cancelled", id, r)
			}
		}
		if r := g.result(t, "short"); r.Error != nil {
			t.Errorf("a short command that runs was cancelled: %v", r.Error)
		}
		if got := d.read(); len(got) != 2 {
			t.Errorf("ran: %q", got)
		}
	})
}

func TestStopIsNotCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var d diary
		cfg := g.config(t, methods{
			"backup": waits(&d, Traits{Long: true}, time.Hour), "restart": waits(&d, Traits{}, 5*time.Second),
		})
		_, stop := start(t, cfg)
		g.enqueue("long", "backup", "")
		g.enqueue("short", "restart", "")
		g.enqueue("short waiting", "restart", "")
		synctest.Wait()
		begun := time.Now()
		stop()
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("the end took %s, want as long as the short command", took)
		}
		if diff := cmp.Diff([]string{"short"}, look(g, &g.answered)); diff != "" {
			t.Error(diff)
		}

		seen := make(chan Command, 2)
		note := func(_ context.Context, cmd Command) (json.RawMessage, error) { seen <- cmd; return nil, nil }
		cfg.Handler = methods{"backup": {Traits{Long: true}, note}, "restart": {Traits{}, note}}
		start(t, cfg)
		g.result(t, "long")
		g.result(t, "short waiting")
		for range 2 {
			cmd := <-seen
			if cmd.Repeated != (cmd.ID == "long") {
				t.Errorf("%s: Repeated = %t", cmd.ID, cmd.Repeated)
			}
			if cmd.Repeated && !cmd.Accepted.Equal(begun) {
				t.Errorf("%s: accepted %s, want the time of its first run, %s", cmd.ID, cmd.Accepted, begun)
			}
		}
	})
}

// TestAllAreToldToEnd has what a command runs end before its agent is told to, as when a sandbox is stopped: it is run again.
func TestAllAreToldToEnd(t *testing.T) {
	for _, traits := range []Traits{{}, {Long: true}} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t)
			killed := make(chan struct{})
			cfg := g.config(t, methods{"prepare": {traits, func(context.Context, Command) (json.RawMessage, error) {
				close(killed)
				return nil, errors.New("mbstream: signal: terminated")
			}}})
			_, stop := start(t, cfg)
			g.enqueue("create", "prepare", "")
			<-killed
			synctest.Wait() // the agent knows that it has failed
			stop()
			if answered := look(g, &g.answered); len(answered) > 0 {
				t.Errorf("answered: %q", answered)
			}
			cfg.Handler = methods{"prepare": {traits, func(context.Context, Command) (json.RawMessage, error) { return nil, nil }}}
			start(t, cfg)
			if r := g.result(t, "create"); r.Error != nil {
				t.Errorf("the second time: %+v", r)
			}
		})
	}
}

func TestHandlersFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		fails := func(err error) method {
			return method{Traits{}, func(context.Context, Command) (json.RawMessage, error) { return nil, err }}
		}
		returns := func(v string) method {
			return method{Traits{}, func(context.Context, Command) (json.RawMessage, error) { return json.RawMessage(v), nil }}
		}
		ran := false
		start(t, g.config(t, methods{
			"kind":  fails(fmt.Errorf("cannot drop: %w", agentpoll.Errorf(agentpoll.NotFound, "no database %q", "x"))),
			"other": fails(errBroken),
			"wordy": fails(fmt.Errorf("%s", strings.Repeat("x", 1<<20))),
			"panic": {Traits{}, func(context.Context, Command) (json.RawMessage, error) { panic("at the disco") }},
			"big":   returns(`"` + strings.Repeat("x", agentpoll.MaxBody) + `"`),
			"text":  returns("not json"),
			"late":  {Traits{}, func(context.Context, Command) (json.RawMessage, error) { ran = true; return nil, nil }},
		}))
		g.enqueueCommand(agentpoll.Command{ID: "late", Method: "late", Deadline: time.Now().Add(-time.Second)})
		for _, id := range []string{"kind", "other", "wordy", "panic", "big", "text", "unknown"} {
			g.enqueue(id, id, "")
		}
		for id, want := range map[string]agentpoll.Error{
			"kind":    {Kind: agentpoll.NotFound, Message: `cannot drop: no database "x"`},
			"other":   {Kind: agentpoll.Internal, Message: "broken"},
			"wordy":   {Kind: agentpoll.Internal, Message: "(1048576 bytes)"},
			"panic":   {Kind: agentpoll.Internal, Message: "log"},
			"big":     {Kind: agentpoll.Internal, Message: "longer than"},
			"text":    {Kind: agentpoll.Internal, Message: "not JSON"},
			"unknown": {Kind: agentpoll.Unsupported, Message: `no method "unknown"`},
			"late":    {Kind: agentpoll.Expired, Message: "1s before"},
		} {
			got := g.result(t, id).Error
			if got == nil || got.Kind != want.Kind || !strings.Contains(got.Message, want.Message) {
				t.Errorf("%s: %+v, want %+v", id, got, want)
			}
		}
		if ran {
			t.Error("a command was started after its deadline")
		}
	})
}

func TestSealedArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		echo := method{Traits{Reads: true}, func(_ context.Context, cmd Command) (json.RawMessage, error) { return cmd.Args, nil }}
		start(t, g.config(t, methods{"echo": echo}))
		g.until(t, "a poll", func() bool { return len(g.polls) > 0 })
		sealed, err := agentpoll.Seal(g.publicKey, "c1", []byte(`{"password":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		g.enqueueCommand(agentpoll.Command{ID: "c1", Method: "echo", Sealed: sealed})
		g.enqueueCommand(agentpoll.Command{ID: "c2", Method: "echo", Sealed: sealed}) // bound to c1
		if got := g.result(t, "c1"); string(got.Value) != `{"password":"x"}` {
			t.Errorf("c1: %+v", got)
		}
		if got := g.result(t, "c2"); got.Error == nil {
			t.Errorf("c2: %+v, want an error", got)
		}
	})
}

func TestProgressIsOneASecondAndTheLastWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		start(t, g.config(t, methods{"backup": {Traits{Long: true}, func(_ context.Context, cmd Command) (json.RawMessage, error) {
			for i := range 101 {
				cmd.Progress(agentpoll.Progress{Done: int64(i), Total: 100})
				time.Sleep(50 * time.Millisecond) // of the bubble
			}
			time.Sleep(2 * time.Second)
			return nil, nil
		}}}))
		g.enqueue("c1", "backup", "")
		g.result(t, "c1")
		p := look(g, &g.progress)["c1"]
		if len(p) < 5 || len(p) > 8 || p[len(p)-1].Done != 100 {
			t.Errorf("%d reports, the last one %+v", len(p), p[len(p)-1])
		}
	})
}
