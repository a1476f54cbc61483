package guest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

const (
	full        = "0199d0a1-0000-7000-8000-0000000000b1"
	incremental = "0199d0a1-0000-7000-8000-0000000000b2"
	elsewhere   = "127.0.0.2"
)

var key = datastores.NewSecret(base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))).ForSealing()

// filled is prepared with a database, and a user who has written n items.
func (b *bench) filled(t *testing.T, n int) *bench {
	t.Helper()
	b.do(t, command(datastores.MethodPrepare), json.RawMessage(
		`{"databases":[{"name":"shop"}],"users":[{"name":"ann","password":"pass","databases":[{"name":"shop"}]}]}`))
	b.write(t, 0, n)
	return b
}

func (b *bench) login() datastoretest.Login {
	return datastoretest.Login{Address: b.address, User: "ann", Password: "pass", Database: "shop"}
}

func (b *bench) write(t *testing.T, from, to int) {
	t.Helper()
	if _, err := b.memory.Write(t.Context(), b.login(), from, to); err != nil {
		t.Fatal(err)
	}
}

// wantItems reports whether the server has the items from 0 on, and no other.
func (b *bench) wantItems(t *testing.T, n int) {
	t.Helper()
	if items, _, err := b.memory.Digest(t.Context(), b.login()); err != nil || items != n {
		t.Errorf("%d items, %v; want %d", items, err, n)
	}
}

func (b *bench) backup(t *testing.T, args datastores.BackupArgs) datastores.BackupRef {
	t.Helper()
	args.Key = key
	result := read[datastores.BackupResult](t, b.do(t, command(datastores.MethodCreateBackup), args))
	if result.BackupID != args.BackupID || result.Used <= 0 || result.Segments != 1 || result.Size == 0 {
		t.Errorf("result: %+v", result)
	}
	return result.BackupRef
}

func restore(chain ...datastores.BackupRef) datastores.PrepareArgs {
	return datastores.PrepareArgs{Restore: &datastores.RestoreArgs{Chain: chain, Key: key}}
}

func TestBackupAndRestore(t *testing.T) {
	b := newBench(t).filled(t, 10)
	first := b.backup(t, datastores.BackupArgs{BackupID: full})
	b.write(t, 10, 15)
	second := b.backup(t, datastores.BackupArgs{BackupID: incremental, Parent: &first})
	b.write(t, 15, 20)
	for n, chain := range map[int][]datastores.BackupRef{10: {first}, 15: {first, second}} {
		other := b.beside(t, elsewhere, `{"restore_namespace":"memory_impl"}`)
		other.do(t, command(datastores.MethodPrepare), restore(chain...))
		other.wantItems(t, n)
		other.do(t, repeated(datastores.MethodPrepare), restore(chain...))
		other.wantItems(t, n)
	}
	b.wantItems(t, 20)
}

func TestRestoreIsRefused(t *testing.T) {
	b := newBench(t).filled(t, 3)
	good := b.backup(t, datastores.BackupArgs{BackupID: full})
	unknown, slow := good, good
	unknown.Strategy.Name = "tar"
	slow.Strategy.Name = "slow"
	wrongKey := restore(good)
	wrongKey.Restore.Key = datastores.NewSecret(base64.StdEncoding.EncodeToString(make([]byte, 32))).ForSealing()
	shortKey := restore(good)
	shortKey.Restore.Key = datastores.NewSecret("s3cret").ForSealing()
	for name, c := range map[string]struct {
		args    datastores.PrepareArgs
		options string
		kind    agentpoll.ErrorKind
		says    string
	}{
		"no chain":               {restore(), `{}`, agentpoll.Invalid, "no backup"},
		"unknown strategy":       {restore(unknown), `{}`, agentpoll.Invalid, "tar"},
		"namespace of the guest": {restore(good), `{"restore_namespace":"mine"}`, agentpoll.Invalid, "mine"},
		"not incremental":        {restore(slow, slow), `{}`, agentpoll.Invalid, "slow"},
		"two strategies":         {restore(good, slow), `{}`, agentpoll.Invalid, full},
		"wrong key":              {wrongKey, `{}`, agentpoll.Internal, full},
		"no key":                 {shortKey, `{}`, agentpoll.Invalid, "32 bytes"},
	} {
		_, err := b.beside(t, elsewhere, c.options).run(t.Context(), command(datastores.MethodPrepare), c.args)
		var e *agentpoll.Error
		if err == nil || !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the key is in the error", name)
		}
	}
}

func TestWhichBackupStrategy(t *testing.T) {
	parent := func(name string) *datastores.BackupRef {
		return &datastores.BackupRef{BackupID: full, Strategy: datastores.StrategyName{Namespace: "memory_impl", Name: name}, Meta: []byte(`{}`)}
	}
	for name, c := range map[string]struct {
		options string
		args    datastores.BackupArgs
		want    string // "": Invalid
	}{
		"the first":         {`{}`, datastores.BackupArgs{}, "copy"},
		"the gateway's":     {`{}`, datastores.BackupArgs{Strategy: "slow"}, "slow"},
		"the guest's":       {`{"backup_strategy":"slow"}`, datastores.BackupArgs{Strategy: "copy"}, "slow"},
		"the parent's":      {`{"backup_strategy":"slow"}`, datastores.BackupArgs{Parent: parent("copy")}, "copy"},
		"no increments":     {`{}`, datastores.BackupArgs{Parent: parent("slow")}, ""},
		"unknown":           {`{}`, datastores.BackupArgs{Strategy: "tar"}, ""},
		"unknown namespace": {`{"backup_namespace":"mine"}`, datastores.BackupArgs{Strategy: "copy"}, ""},
	} {
		b := newBench(t)
		b = b.beside(t, address, c.options).prepared(t)
		c.args.BackupID = incremental
		if c.want == "" {
			b.refused(t, command(datastores.MethodCreateBackup), c.args, agentpoll.Invalid)
			continue
		}
		got := read[datastores.BackupResult](t, b.do(t, command(datastores.MethodCreateBackup), c.args))
		if diff := cmp.Diff(datastores.StrategyName{Namespace: "memory_impl", Name: c.want}, got.Strategy); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// underway is a backup that waits half way.
type underway struct {
	cancel context.CancelCauseFunc
	result chan error
}

func (b *bench) underway(t *testing.T) underway {
	t.Helper()
	t.Cleanup(b.memory.Hold(b.address, datastores.MethodCreateBackup))
	ctx, cancel := context.WithCancelCause(t.Context())
	u := underway{cancel, make(chan error, 1)}
	begun := make(chan struct{}, 100)
	cmd := agent.Command{Method: datastores.MethodCreateBackup, Progress: func(p agentpoll.Progress) {
		if p.Unit != "bytes" || p.Message != "backing up with copy" {
			t.Errorf("progress: %+v", p)
		}
		select {
		case begun <- struct{}{}:
		default:
		}
	}}
	go func() {
		_, err := b.run(ctx, cmd, datastores.BackupArgs{BackupID: full})
		u.result <- err
	}()
	<-begun
	return u
}

func (u underway) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-u.result:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the backup goes on")
		return nil
	}
}

func TestTenantsWorkDuringABackup(t *testing.T) {
	b := newBench(t).filled(t, 3)
	u := b.underway(t)
	b.do(t, command(datastores.MethodListUsers), nil)
	b.do(t, command(datastores.MethodCreateDatabase), datastores.CreateDatabaseArgs{Databases: databases("more")})
	b.refused(t, command(datastores.MethodCreateBackup), datastores.BackupArgs{BackupID: incremental}, agentpoll.Conflict)
	u.cancel(errors.New("cancelled"))
	if err := u.ended(t); !errors.Is(err, context.Canceled) && err == nil {
		t.Errorf("cancelled backup: %v", err)
	}
}

func TestAStopEndsABackup(t *testing.T) {
	for _, method := range []string{datastores.MethodStop, datastores.MethodRestart, datastores.MethodUpgrade, datastores.MethodDetachReplica} {
		b := newBench(t).filled(t, 3)
		u := b.underway(t)
		b.do(t, command(method), map[string]any{"options": map[string]int{"release": 2}})
		err := u.ended(t)
		var e *agentpoll.Error
		if !errors.As(err, &e) || e.Kind != agentpoll.Conflict || !strings.Contains(e.Message, "needs the server for itself") {
			t.Errorf("a backup during %s: %v", method, err)
		}
	}
}

func TestACrashEndsABackup(t *testing.T) {
	b := newBench(t).filled(t, 3)
	u := b.underway(t)
	b.memory.Crash(address)
	b.revive(t.Context())
	if err := u.ended(t); err == nil {
		t.Error("a backup has outlived its server")
	}
	b.wantStatus(t, datastores.StatusHealthy)
}

func TestABackupNeedsAServer(t *testing.T) {
	b := newBench(t)
	args := datastores.BackupArgs{BackupID: full}
	b.refused(t, command(datastores.MethodCreateBackup), args, agentpoll.Conflict)
	b.prepared(t).do(t, command(datastores.MethodStop), nil)
	b.refused(t, command(datastores.MethodCreateBackup), args, agentpoll.Conflict)
}

func TestABackupSaysWhyItFailed(t *testing.T) {
	b := newBench(t).filled(t, 3)
	b.memory.Fail(address, datastores.MethodCreateBackup, errors.New("no space left on device"))
	_, err := b.run(t.Context(), command(datastores.MethodCreateBackup), datastores.BackupArgs{BackupID: full})
	if err == nil || !strings.Contains(err.Error(), "backup with copy") || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("%v", err)
	}
	b.memory.Fail(address, datastores.MethodCreateBackup, nil)
	b.store.stuck = true // the network is gone
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.run(ctx, command(datastores.MethodCreateBackup), datastores.BackupArgs{BackupID: full}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
	b.store.stuck = false
	b.backup(t, datastores.BackupArgs{BackupID: full})
}

func TestALongRestoreTellsHowFarItIs(t *testing.T) {
	b := newBench(t)
	b.memory.BackupBytes = 20 << 20
	made := b.filled(t, 3).backup(t, datastores.BackupArgs{BackupID: full, Strategy: "slow"})
	var told []string
	prepare := agent.Command{Method: datastores.MethodPrepare, Progress: func(p agentpoll.Progress) { told = append(told, p.Message) }}
	other := b.beside(t, elsewhere, `{}`)
	other.do(t, prepare, restore(made))
	other.wantItems(t, 3)
	if text := strings.Join(told, ", "); !strings.Contains(text, "restoring with slow: 8 of 20 MiB, restoring with slow: 16 of 20 MiB") {
		t.Errorf("progress: %s", text)
	}
}

func TestOneIsAside(t *testing.T) {
	var a aside
	ctx, done, err := a.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.begin(t.Context()); !isKind(err, datastores.Conflict) {
		t.Errorf("a second one: %v", err)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.end(impatient, "stop"); !errors.Is(err, context.Canceled) {
		t.Errorf("end = %v before it has ended", err)
	}
	if err := done(ctx.Err()); !isKind(err, datastores.Conflict) || !strings.Contains(err.Error(), "stop") {
		t.Errorf("done = %v, want the reason", err)
	}
	if err := a.end(t.Context(), "stop"); err != nil {
		t.Errorf("end of nothing = %v", err)
	}
	if _, done, err = a.begin(t.Context()); err != nil || done(nil) != nil {
		t.Errorf("the next one: %v", err)
	}
}
