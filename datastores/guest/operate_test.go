package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

func TestPrepareMakesWhatWasAskedFor(t *testing.T) {
	b := newBench(t)
	b.wantStatus(t, datastores.StatusNew)
	b.refused(t, command(datastores.MethodListUsers), nil, agentpoll.Conflict)
	b.refused(t, command(datastores.MethodStart), nil, agentpoll.Conflict)

	var told []string
	args := []byte(`{"databases":[{"name":"shop"}],"users":[{"name":"ann","password":"pass","databases":[{"name":"shop"}]}],"root_password":"r"}`)
	prepare := agent.Command{Method: datastores.MethodPrepare, Args: args, Progress: func(p agentpoll.Progress) {
		told = append(told, p.Message)
		b.wantStatus(t, datastores.StatusBuilding)
	}}
	for range 2 { // whatever an earlier try has made may be there
		b.do(t, prepare, nil)
		b.wantStatus(t, datastores.StatusHealthy)
		for user, password := range map[string]string{"ann": "pass", "root": "r"} {
			if err := b.memory.Connect(t.Context(), address, user, password, ""); err != nil {
				t.Errorf("%s: %v", user, err)
			}
		}
		b = b.again(t)
	}
	if len(told) != 20 || told[3] != "server" || told[4] != "writing nothing" {
		t.Errorf("progress: %q", told)
	}
	if info, err := os.Stat(filepath.Join(b.config.Root, "var/lib/memory")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory: %v, %v", info, err)
	}
}

func TestPrepareFails(t *testing.T) {
	b := newBench(t)
	b.memory.FailStarts(address, errors.New("no memory"))
	if _, err := b.run(t.Context(), command(datastores.MethodPrepare), nil); err == nil || err.Error() != "prepare, step server: no memory" {
		t.Errorf("prepare = %v", err)
	}
	b = b.again(t)
	b.wantStatus(t, datastores.StatusFailed)
	b.memory.FailStarts(address, nil)
	b.prepared(t).wantStatus(t, datastores.StatusHealthy)
}

// TestPrepareCut ends the guest in the middle: the agent repeats the command, nothing else may happen before.
func TestPrepareCut(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cut := command(datastores.MethodPrepare)
	cut.Progress = func(p agentpoll.Progress) {
		if p.Done == 2 {
			cancel()
		}
	}
	if _, err := b.run(ctx, cut, nil); err == nil {
		t.Fatal("prepare was not cut")
	}
	b = b.again(t)
	b.wantStatus(t, datastores.StatusBuilding)
	b.prepared(t).wantStatus(t, datastores.StatusHealthy)
}

func TestDataDirStaysBelowRoot(t *testing.T) {
	b := newBench(t)
	for _, err := range []error{
		os.MkdirAll(filepath.Join(b.config.Root, "var/lib"), 0o755),
		os.Symlink(t.TempDir(), filepath.Join(b.config.Root, "var/lib/memory")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.makeDataDir(t.Context(), b.served.Load()); err == nil {
		t.Error("a link has led the data directory out of Root")
	}
	g, err := New(Config{Plugin: b.memory.Plugin(), Guest: b.config})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.open(agentpoll.EnrollReply{AgentID: instance, Options: []byte(`{"mount_point":"/../etc"}`)}); err != nil || g.broken == nil {
		t.Errorf("a mount_point out of Root was taken (%v)", err)
	}
}

func TestStopStartRestart(t *testing.T) {
	b := newBench(t).prepared(t)
	for _, c := range []struct {
		cmd    agent.Command
		want   datastores.ServiceStatus
		starts int
	}{
		{command(datastores.MethodStop), datastores.StatusShutdown, 1},
		{command(datastores.MethodStop), datastores.StatusShutdown, 1},
		{command(datastores.MethodStart), datastores.StatusHealthy, 2},
		{command(datastores.MethodStart), datastores.StatusHealthy, 2},
		{command(datastores.MethodRestart), datastores.StatusHealthy, 3},
		{agent.Command{Method: datastores.MethodRestart, Repeated: true, Accepted: time.Now().Add(-time.Hour)}, datastores.StatusHealthy, 3},
		{agent.Command{Method: datastores.MethodRestart, Repeated: true, Accepted: time.Now().Add(time.Hour)}, datastores.StatusHealthy, 4},
	} {
		b.do(t, c.cmd, nil)
		b.wantStatus(t, c.want)
		if n := b.memory.Starts(address); n != c.starts {
			t.Errorf("after %+v the server was started %d times, want %d", c.cmd, n, c.starts)
		}
		if c.want == datastores.StatusShutdown {
			b.refused(t, command(datastores.MethodListUsers), nil, agentpoll.Conflict)
		}
		b = b.again(t)
	}
}

// supervised runs f beside the supervisor, in fake time.
func supervised(t *testing.T, b *bench, f func()) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		b.turn = make(chan struct{}, 1) // of this bubble
		go func() {
			defer close(done)
			b.supervise(ctx)
		}()
		synctest.Wait()
		f()
		cancel()
		<-done
	})
}

// TestServerThatIsWaitedFor: a replica that stands still is restarted while a promotion waits for it.
func TestServerThatIsWaitedFor(t *testing.T) {
	b := newBench(t).prepared(t)
	starts, far := b.memory.Starts(address), datastores.Position{ID: "1000000"}
	supervised(t, b, func() {
		ctx, giveUp := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			_, err := b.run(ctx, command(datastores.MethodWaitForTxn), datastores.WaitArgs{Position: far})
			ended <- err
		}()
		b.memory.Stall(address, "its source has more")
		time.Sleep(time.Minute)
		if n := b.memory.Starts(address) - starts; n != 1 {
			t.Errorf("restarted %d times, want once", n)
		}
		select {
		case err := <-ended:
			t.Errorf("the wait has ended: %v", err)
		default:
		}
		giveUp()
		<-ended
	})
}

func TestCrashIsReportedThenRepaired(t *testing.T) {
	b := newBench(t).prepared(t)
	supervised(t, b, func() {
		b.memory.Crash(address)
		time.Sleep(checkEvery)
		b.wantStatus(t, datastores.StatusCrashed)
		time.Sleep(firstDelay)
		synctest.Wait()
		b.wantStatus(t, datastores.StatusHealthy)
	})
}

// TestServerThatStandsStill is restarted, but not beside a backup.
func TestServerThatStandsStill(t *testing.T) {
	b := newBench(t).prepared(t)
	starts := b.memory.Starts(address)
	supervised(t, b, func() {
		_, done, err := b.aside.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.memory.Stall(address, "its source has more")
		time.Sleep(time.Minute)
		if n := b.memory.Starts(address) - starts; n != 0 {
			t.Errorf("restarted %d times beside a backup", n)
		}
		_ = done(nil)
		time.Sleep(time.Minute)
		if n := b.memory.Starts(address) - starts; n != 1 || b.observe(t.Context()).Restart != "" {
			t.Errorf("restarted %d times, want once", n)
		}
		b.wantStatus(t, datastores.StatusHealthy)
	})
}

func TestCrashLoopBacksOff(t *testing.T) {
	b := newBench(t).prepared(t)
	supervised(t, b, func() {
		b.memory.Crash(address)
		b.memory.FailStarts(address, errors.New("disk full"))
		before := b.memory.Starts(address)
		time.Sleep(time.Hour)
		if n := b.memory.Starts(address) - before; n < 50 || n > 65 {
			t.Errorf("%d starts in an hour, want about one a minute", n)
		}
		if st := b.observe(t.Context()); st.Service != datastores.StatusCrashed || st.Message != "disk full" {
			t.Errorf("status = %+v", st)
		}
		b.memory.FailStarts(address, nil)
		time.Sleep(2 * longestDelay)
		b.wantStatus(t, datastores.StatusHealthy)
	})
}

func TestAfterTheMachineRestarted(t *testing.T) {
	b := newBench(t).prepared(t)
	b.memory.Crash(address)
	supervised(t, b.again(t), func() { b.wantStatus(t, datastores.StatusHealthy) })

	b.do(t, command(datastores.MethodStop), nil)
	supervised(t, b.again(t), func() {
		time.Sleep(time.Hour)
		b.wantStatus(t, datastores.StatusShutdown)
	})
}

func TestSettle(t *testing.T) {
	const mib = 1 << 20
	last := datastores.VolumeUsage{Total: 1000 * mib, Used: 500 * mib}
	for _, c := range []struct {
		total, used int64
		told        bool
	}{
		{1000 * mib, 509 * mib, false},
		{1000 * mib, 491 * mib, false},
		{1000 * mib, 510 * mib, true},
		{1000 * mib, 490 * mib, true},
		{2000 * mib, 500 * mib, true},
	} {
		now := datastores.VolumeUsage{Total: c.total, Used: c.used}
		if told := steady(last, now) == now; told != c.told {
			t.Errorf("steady(%+v) told %v, want %v", now, told, c.told)
		}
	}
}

// TestModulesOfAGuest: what fails is told of one module alone, and can be taken away; a type that nobody knows is an error of it; a server
// that is made anew has what it was made with, and no more.
func TestModulesOfAGuest(t *testing.T) {
	b := newBench(t).prepared(t)
	id := func(n int) string { return fmt.Sprintf("0199d0a1-0000-7000-8000-00000000000%d", n) }
	args := datastores.ModulesArgs{Apply: []datastores.ModuleArgs{
		datastores.NewModuleArgs(id(1), "p", "ping", "a", []byte("x")), datastores.NewModuleArgs(id(2), "no name", "key_file", "b", []byte("secret")),
		datastores.NewModuleArgs(id(3), "k", "unheard_of", "c", []byte("secret")), datastores.NewModuleArgs(id(4), "k.key", "key_file", "d", []byte("secret")),
	}}
	states := func(args datastores.ModulesArgs) string {
		var reply datastores.ModulesReply
		if err := json.Unmarshal(b.do(t, command(datastores.MethodModules), args), &reply); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, m := range reply.Modules {
			all = append(all, fmt.Sprint(m.Name, " ", m.Status, " ", m.Removed))
			if strings.Contains(m.Message, "secret") {
				t.Errorf("it tells of what is in it: %q", m.Message)
			}
		}
		return strings.Join(all, ", ")
	}
	const four = "p OK false, no name ERROR false, k ERROR false, k.key OK false"
	if got := states(args); got != four {
		t.Errorf("applied: %s", got)
	}
	b = b.again(t)
	if got := states(datastores.ModulesArgs{}); got != four {
		t.Errorf("after a restart of the guest: %s", got)
	}
	remove := datastores.ModulesArgs{Remove: []datastores.ModuleArgs{{ID: id(2)}, {ID: id(3)}, {ID: id(4)}, {ID: id(5), Type: "ping"}}}
	if got := states(remove); got != " OK true,  OK true,  OK true,  OK true, p OK false" {
		t.Errorf("removed: %s", got)
	}
	b.wantStatus(t, datastores.StatusHealthy)
	var reply datastores.PrepareReply
	if err := json.Unmarshal(b.do(t, command(datastores.MethodPrepare), datastores.PrepareArgs{Modules: args.Apply[3:]}), &reply); err != nil {
		t.Fatal(err)
	}
	if len(reply.Modules) != 1 || reply.Modules[0].ID != id(4) || reply.Modules[0].Status != datastores.ModuleOK {
		t.Errorf("made anew: %+v", reply.Modules)
	}
}
