package guest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
)

// log does something with the log "general" and returns its status.
func (b *bench) log(t *testing.T, args datastores.LogArgs) datastores.LogStatus {
	t.Helper()
	args.Name = "general"
	return read[datastores.LogStatus](t, b.do(t, command(datastores.MethodLogAction), args))
}

func (b *bench) wantLog(t *testing.T, status string, published, pending int) {
	t.Helper()
	general := datastores.Log{Name: "general", Type: datastores.UserLog}
	want := datastores.LogStatus{Log: general, Status: status, Published: int64(published), Pending: int64(pending)}
	if diff := cmp.Diff(want, b.log(t, datastores.LogArgs{})); diff != "" {
		t.Error(diff)
	}
}

func (b *bench) logPath() string { return filepath.Join(b.config.Dir, "general.log") }

func (b *bench) writeLog(t *testing.T, text string, flags int) {
	t.Helper()
	f, err := os.OpenFile(b.logPath(), os.O_WRONLY|os.O_CREATE|flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestLifeOfALog(t *testing.T) {
	b := newBench(t).prepared(t)
	b.wantLog(t, "Disabled", 0, 0)
	b.log(t, datastores.LogArgs{Enable: true})
	b.wantLog(t, "Enabled", 0, 0)
	b.writeLog(t, "first\n", os.O_APPEND)
	b.wantLog(t, "Ready", 0, 6)
	b.log(t, datastores.LogArgs{Publish: true})
	b.wantLog(t, "Published", 6, 0)
	b.writeLog(t, "second\n", os.O_APPEND)
	b = b.again(t)
	b.wantLog(t, "Partial", 6, 7)
	b.log(t, datastores.LogArgs{Publish: true})
	b.log(t, datastores.LogArgs{Publish: true}) // nothing to do
	if text, _ := b.store.published("general"); text != "first\nsecond\n" || b.store.puts != 2 {
		t.Errorf("published %q in %d", text, b.store.puts)
	}

	b.writeLog(t, "third and longer\n", os.O_TRUNC)
	b.wantLog(t, "Rotated", 13, 17)
	b.log(t, datastores.LogArgs{Publish: true})
	b.wantLog(t, "Published", 17, 0)
	if err := os.Rename(b.logPath(), b.logPath()+".1"); err != nil {
		t.Fatal(err)
	}
	b.wantLog(t, "Enabled", 17, 0)
	b.writeLog(t, "third and longer\n", os.O_EXCL) // another file of the same content
	b.wantLog(t, "Rotated", 17, 17)
	b.log(t, datastores.LogArgs{Disable: true, Publish: true})
	b.wantLog(t, "Disabled", 17, 0)
	if text, _ := b.store.published("general"); text != "first\nsecond\nthird and longer\nthird and longer\n" {
		t.Errorf("published %q", text)
	}
	b.log(t, datastores.LogArgs{Discard: true})
	b.wantLog(t, "Disabled", 0, 17)
	if text, _ := b.store.published("general"); text != "" {
		t.Errorf("%q was not discarded", text)
	}
}

func TestLogsAreRefused(t *testing.T) {
	b := newBench(t)
	b.refused(t, command(datastores.MethodLogList), nil, agentpoll.Conflict)
	b.prepared(t)
	for _, args := range []datastores.LogArgs{
		{Name: "error", Enable: true},
		{Name: "error", Disable: true},
		{Name: "audit", Publish: true},
		{Name: "general", Enable: true, Disable: true},
		{Name: "general", Publish: true}, // not written yet
	} {
		b.refused(t, command(datastores.MethodLogAction), args, agentpoll.Invalid)
	}
	hidden := b.beside(t, address, `{"guest_log_exposed_logs":[]}`).prepared(t)
	hidden.refused(t, command(datastores.MethodLogAction), datastores.LogArgs{Name: "general"}, agentpoll.Invalid)
	for _, c := range []struct {
		b    *bench
		want []string
	}{{b, []string{"error", "general"}}, {hidden, []string{"error"}}} {
		var names []string
		for _, l := range read[datastores.LogList](t, c.b.do(t, command(datastores.MethodLogList), nil)).Logs {
			names = append(names, l.Name)
		}
		if diff := cmp.Diff(c.want, names); diff != "" {
			t.Error(diff)
		}
	}
}

// TestPublishCut ends the guest after the gateway has a chunk and before that is noted.
func TestPublishCut(t *testing.T) {
	b := newBench(t).prepared(t)
	text := strings.Repeat("0123456789", 250_000)
	b.writeLog(t, text, os.O_APPEND)
	b.store.cut = func(n int) error {
		if n == 2 {
			return errors.New("cut")
		}
		return nil
	}
	if _, err := b.run(t.Context(), command(datastores.MethodLogAction), datastores.LogArgs{Name: "general", Publish: true}); err == nil {
		t.Fatal("it was not cut")
	}
	b.store.cut = nil
	b = b.again(t)
	b.wantLog(t, "Disabled", maxChunk, 1_500_000)
	b.log(t, datastores.LogArgs{Publish: true})
	if got, longest := b.store.published("general"); got != text || longest > maxChunk || len(b.store.logs["general"]) != 3 {
		t.Errorf("%d bytes in %d chunks of up to %d", len(got), len(b.store.logs["general"]), longest)
	}
}

func TestPublishEndsBeforeItsDeadline(t *testing.T) {
	b := newBench(t).prepared(t)
	b.writeLog(t, "text", os.O_APPEND)
	publish := command(datastores.MethodLogAction)
	publish.Deadline = time.Now().Add(publishMargin / 2)
	st := read[datastores.LogStatus](t, b.do(t, publish, datastores.LogArgs{Name: "general", Publish: true}))
	if st.Published != 0 || st.Pending != 4 {
		t.Errorf("%+v", st)
	}
}

func TestALinkIsNoLog(t *testing.T) {
	b := newBench(t).prepared(t)
	secret := filepath.Join(b.config.Dir, "secret")
	if err := errors.Join(os.WriteFile(secret, []byte("s3cret"), 0o600), os.Symlink("secret", b.logPath())); err != nil {
		t.Fatal(err)
	}
	for _, args := range []datastores.LogArgs{{Name: "general"}, {Name: "general", Publish: true}} {
		if _, err := b.run(t.Context(), command(datastores.MethodLogAction), args); err == nil || !strings.Contains(err.Error(), "not a file") {
			t.Errorf("%+v = %v", args, err)
		}
	}
}

// H4: what tenants can have their server write is bounded, but for the logs that they ask for.
func TestLogsOfTheSystemAreBounded(t *testing.T) {
	b := newBench(t).prepared(t)
	for name, bounded := range map[string]bool{"error": true, "general": false} {
		path := filepath.Join(b.config.Dir, name+".log")
		if err := os.WriteFile(path, bytes.Repeat([]byte("a line\n"), 3<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		b.trimLogs()
		info, err := os.Stat(path)
		if err != nil || (info.Size() < 1<<20) != bounded {
			t.Errorf("the log %s has %d bytes, %v", name, info.Size(), err)
		}
	}
}

// slowLogs are turned on and off by a restart only.
type slowLogs struct{ logging }

// logging is not named Logs, which as a field would hide the method.
type logging = datastores.Logs

func (slowLogs) SetLog(context.Context, string, bool) (bool, error) { return true, nil }

func TestALogThatTakesARestart(t *testing.T) {
	b := newBench(t).prepared(t)
	s := *b.served.Load()
	s.manager = struct {
		datastores.Manager
		slowLogs
	}{s.manager, slowLogs{s.manager.(datastores.Logs)}}
	b.served.Store(&s)
	b.log(t, datastores.LogArgs{Enable: true})
	b.wantLog(t, "Restart_Required", 0, 0)
	b.do(t, command(datastores.MethodRestart), nil)
	b.wantLog(t, "Enabled", 0, 0)
	b.log(t, datastores.LogArgs{Disable: true})
	b.wantLog(t, "Restart_Required", 0, 0)
}
