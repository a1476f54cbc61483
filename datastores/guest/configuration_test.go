package guest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

func (b *bench) wantValue(t *testing.T, parameter, want string) {
	t.Helper()
	if got, err := b.memory.Show(t.Context(), b.served.Load().manager, parameter); err != nil || got != want {
		t.Errorf("%s = %q, %v; want %q", parameter, got, err, want)
	}
}

func TestOverrides(t *testing.T) {
	b := newBench(t).prepared(t)
	reply := read[datastores.ConfigurationReply](t, b.do(t, command(datastores.MethodGetConfiguration), nil))
	if reply.Configuration["greeting"] != "hello" {
		t.Errorf("configuration: %v", reply.Configuration)
	}
	for _, c := range []struct {
		values  string
		restart bool
	}{
		{`{"greeting":"moin","max_connections":200}`, false},
		{`{"greeting":"moin","boot":"slow"}`, true},
	} {
		args := datastores.OverridesArgs{}
		if err := json.Unmarshal([]byte(c.values), &args.Values); err != nil {
			t.Fatal(err)
		}
		got := read[datastores.OverridesReply](t, b.do(t, command(datastores.MethodUpdateOverrides), args))
		if got.RestartRequired != c.restart {
			t.Errorf("%s: restart %v, want %v", c.values, got.RestartRequired, c.restart)
		}
	}
	b.wantValue(t, "greeting", "moin")
	b.wantValue(t, "max_connections", "100")
	b.wantValue(t, "boot", "fast")
	b.do(t, command(datastores.MethodRestart), datastores.RestartArgs{})
	b.wantValue(t, "boot", "slow")

	none := datastores.Values{}
	b.do(t, command(datastores.MethodRestart), datastores.RestartArgs{Overrides: &none})
	b.wantValue(t, "boot", "fast")
	b.do(t, command(datastores.MethodStop), nil)
	b.do(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: datastores.Values{"boot": "slow"}})
	b.wantStatus(t, datastores.StatusShutdown)
}

func TestOverridesAreCheckedAgain(t *testing.T) {
	b := newBench(t).prepared(t)
	bad := datastores.Values{"boot": "sideways", "plugin_dir": "/tmp", "strict": true}
	b.refused(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: bad}, agentpoll.Invalid)
	b.refused(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: datastores.Values{"ratio": json.Number("1")}}, agentpoll.Invalid)
	b.wantRefused(t, b.restarted(t, bad), "boot", "plugin_dir")
	b.wantValue(t, "boot", "fast")
	_, err := b.run(t.Context(), command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: bad})
	if err == nil || !strings.Contains(err.Error(), "boot") || !strings.Contains(err.Error(), "plugin_dir") {
		t.Errorf("error: %v; want both names", err)
	}
}

func TestPrepareWithOverrides(t *testing.T) {
	b := newBench(t)
	b.refused(t, command(datastores.MethodPrepare), datastores.PrepareArgs{Overrides: datastores.Values{"boot": "x"}}, agentpoll.Invalid)
	b.wantStatus(t, datastores.StatusFailed)
	b.do(t, agent.Command{Method: datastores.MethodPrepare}, datastores.PrepareArgs{Overrides: datastores.Values{"boot": "slow"}})
	b.wantValue(t, "boot", "slow")
}

// restarted restarts with values, and returns what the tenant is told.
func (b *bench) restarted(t *testing.T, values datastores.Values) string {
	t.Helper()
	return read[datastores.StartReply](t, b.do(t, command(datastores.MethodRestart), datastores.RestartArgs{Overrides: &values})).Refused
}

func (b *bench) set(t *testing.T, values datastores.Values) {
	t.Helper()
	b.do(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: values})
}

func (b *bench) wantRefused(t *testing.T, got string, names ...string) {
	t.Helper()
	if status := b.observe(t.Context()).Refused; status != got {
		t.Errorf("the status says %q of refused values, the answer %q", status, got)
	}
	if len(names) == 0 && got != "" {
		t.Errorf("refused: %q; want nothing", got)
	}
	for _, name := range names {
		if !strings.Contains(got, name) {
			t.Errorf("refused: %q; want %s in it", got, name)
		}
	}
}

// TestRestartFallsBack: a server that does not start with new values runs with those before, and says so until it is given
// others.
func TestRestartFallsBack(t *testing.T) {
	b := newBench(t).prepared(t)
	good := datastores.Values{"boot": "slow", "greeting": "moin"}
	b.wantRefused(t, b.restarted(t, good))
	b.set(t, datastores.Values{"boot": "never", "greeting": "moin"})
	for range 2 { // each command tries it again
		refused := read[datastores.StartReply](t, b.do(t, command(datastores.MethodRestart), nil)).Refused
		b.wantRefused(t, refused, "boot")
		b.wantValue(t, "boot", "slow")
		b.wantStatus(t, datastores.StatusHealthy)
		b = b.again(t)
	}
	b.set(t, datastores.Values{})
	b.wantRefused(t, "")
	b.wantRefused(t, b.restarted(t, datastores.Values{}))
	b.wantValue(t, "boot", "fast")
}

// TestCrashedServerFallsBack: nobody has asked for that start.
func TestCrashedServerFallsBack(t *testing.T) {
	b := newBench(t).prepared(t)
	b.set(t, datastores.Values{"boot": "never"})
	b.memory.Crash(address)
	b.revive(t.Context())
	b.wantStatus(t, datastores.StatusHealthy)
	b.wantRefused(t, b.observe(t.Context()).Refused, "boot")
	b.memory.Crash(address)
	b.revive(t.Context())
	b.wantStatus(t, datastores.StatusHealthy)
	b.wantRefused(t, b.observe(t.Context()).Refused, "boot")
}

// TestFallBackWithoutValues: after a resize not even the values before are possible.
func TestFallBackWithoutValues(t *testing.T) {
	b := newBench(t)
	b.memoryMB = 512
	b = b.again(t).prepared(t)
	b.wantRefused(t, b.restarted(t, datastores.Values{"cache_mb": json.Number("300")}))
	b.set(t, datastores.Values{"cache_mb": json.Number("400")})
	b.do(t, command(datastores.MethodStop), nil)
	b.memoryMB = 64
	b = b.again(t)
	b.wantRefused(t, read[datastores.StartReply](t, b.do(t, command(datastores.MethodStart), nil)).Refused, "cache_mb")
	b.wantValue(t, "cache_mb", "32")
	b.do(t, command(datastores.MethodStop), nil)
	b.memoryMB = 1024
	b = b.again(t)
	b.wantRefused(t, read[datastores.StartReply](t, b.do(t, command(datastores.MethodStart), nil)).Refused)
	b.wantValue(t, "cache_mb", "400")
}

// cut is a manager whose guest is killed at one of its calls, before or after it was done.
type cut struct {
	datastores.Manager
	datastores.Configuration
	calls, at int
	after     bool
	kill      func()
}

func (c *cut) do(ctx context.Context, call func() error) error {
	if c.calls++; c.calls == c.at && !c.after {
		c.kill()
		return ctx.Err()
	}
	err := call()
	if c.calls == c.at {
		c.kill()
		err = ctx.Err()
	}
	return err
}

func (c *cut) Start(ctx context.Context) error {
	return c.do(ctx, func() error { return c.Manager.Start(ctx) })
}

func (c *cut) Stop(ctx context.Context) error {
	return c.do(ctx, func() error { return c.Manager.Stop(ctx) })
}

func (c *cut) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	return restart, c.do(ctx, func() (err error) {
		restart, err = c.Configuration.UpdateOverrides(ctx, values)
		return err
	})
}

// TestFallBackSurvivesTheGuest kills the guest at each call of a start that falls back.
func TestFallBackSurvivesTheGuest(t *testing.T) {
	for n := 2; ; n++ {
		b := newBench(t).prepared(t)
		b.wantRefused(t, b.restarted(t, datastores.Values{"boot": "slow"}))
		b.set(t, datastores.Values{"boot": "never"})
		b.memory.Crash(address)
		ctx, kill := context.WithCancel(t.Context())
		s := *b.served.Load()
		c := &cut{Manager: s.manager, Configuration: s.manager.(datastores.Configuration), at: n / 2, after: n%2 == 1, kill: kill}
		s.manager = c
		b.served.Store(&s)
		b.revive(ctx)
		kill()
		b = b.again(t)
		b.revive(t.Context())
		b.wantStatus(t, datastores.StatusHealthy)
		b.wantRefused(t, b.observe(t.Context()).Refused, "boot")
		b.wantValue(t, "boot", "slow")
		if t.Failed() {
			t.Fatalf("the guest was killed at call %d", n/2)
		}
		if c.calls < c.at {
			break
		}
	}
}

// TestStartFailsForAnotherReason: the values are what they were.
func TestStartFailsForAnotherReason(t *testing.T) {
	b := newBench(t).prepared(t)
	b.wantRefused(t, b.restarted(t, datastores.Values{"boot": "slow"}))
	b.set(t, datastores.Values{"cache_mb": json.Number("7")})
	b.memory.FailStarts(address, errors.New("no room"))
	if _, err := b.run(t.Context(), command(datastores.MethodRestart), nil); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("restart = %v", err)
	}
	b.memory.FailStarts(address, nil)
	b.wantRefused(t, read[datastores.StartReply](t, b.do(t, command(datastores.MethodStart), nil)).Refused)
	b.wantValue(t, "cache_mb", "7")
	b.wantValue(t, "boot", "fast")
}

// TestFormatIsForCreate: what fixes the format of the data is refused later, and stays whatever else is set.
func TestFormatIsForCreate(t *testing.T) {
	b := newBench(t)
	b.do(t, command(datastores.MethodPrepare), datastores.PrepareArgs{Overrides: datastores.Values{"format": "old"}})
	b.refused(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: datastores.Values{"format": "new"}}, agentpoll.Conflict)
	b.set(t, datastores.Values{"format": "old", "boot": "slow"})
	b.set(t, datastores.Values{})
	b = b.again(t)
	b.wantRefused(t, b.restarted(t, datastores.Values{}))
	b.wantValue(t, "format", "old")
	b.wantRefused(t, b.restarted(t, datastores.Values{"format": "new"}), "format")
	b.wantValue(t, "format", "old")

	b = newBench(t).prepared(t)
	b.refused(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: datastores.Values{"format": "old"}}, agentpoll.Conflict)
	b.set(t, datastores.Values{"format": "new"})
}

// TestFormatComesWithABackup: a server that is made of another's files has what fixes their format, or is refused.
func TestFormatComesWithABackup(t *testing.T) {
	b := newBench(t)
	b.do(t, command(datastores.MethodPrepare), datastores.PrepareArgs{Overrides: datastores.Values{"format": "old", "boot": "slow"}})
	made := b.backup(t, datastores.BackupArgs{BackupID: full})
	other := b.beside(t, elsewhere, "")
	args := restore(made)
	args.Overrides = datastores.Values{"format": "new"}
	other.refused(t, command(datastores.MethodPrepare), args, agentpoll.Conflict)
	args.Overrides = datastores.Values{"ratio": json.Number("0.1")}
	other.do(t, command(datastores.MethodPrepare), args)
	other.wantValue(t, "format", "old")
	other.wantValue(t, "ratio", "0.1")
	other.wantValue(t, "boot", "fast")
	other.set(t, datastores.Values{})
	other.wantRefused(t, other.restarted(t, datastores.Values{}))
	other.wantValue(t, "format", "old")

	other = b.beside(t, "127.0.0.3", "")
	made.Fixed = nil // of an earlier version
	other.do(t, command(datastores.MethodPrepare), restore(made))
	other.wantValue(t, "format", "new")

	b = newBench(t).prepared(t)
	made = b.backup(t, datastores.BackupArgs{BackupID: full})
	args = restore(made)
	args.Overrides = datastores.Values{"format": "old"}
	b.beside(t, elsewhere, "").refused(t, command(datastores.MethodPrepare), args, agentpoll.Conflict)

	b = newBench(t)
	b.do(t, command(datastores.MethodPrepare), datastores.PrepareArgs{Overrides: datastores.Values{"format": "old"}})
	made = b.backup(t, datastores.BackupArgs{BackupID: full, Strategy: "slow"})
	other = b.beside(t, elsewhere, "")
	other.do(t, command(datastores.MethodPrepare), restore(made)) // which is loaded, whatever the format
	other.wantValue(t, "format", "new")
}
