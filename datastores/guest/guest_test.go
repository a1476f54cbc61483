package guest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
)

const (
	instance = "0199d0a1-0000-7000-8000-000000000001"
	address  = "127.0.0.1"
)

// bench is a guest of a server in memory, opened, and without a gateway.
type bench struct {
	*Guest
	memory   *inmemory.Datastore
	store    *store
	address  string
	options  string
	memoryMB int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return (&bench{memory: &inmemory.Datastore{}, store: newStore(), address: address, options: `{}`}).in(t, t.TempDir())
}

// in is b in a directory, as the binary is after it was started.
func (b *bench) in(t *testing.T, dir string) *bench {
	t.Helper()
	b.Guest = b.open(t, dir, b.options)
	return b
}

// beside is another guest of the same gateway, with options of its own.
func (b *bench) beside(t *testing.T, address, options string) *bench {
	t.Helper()
	return (&bench{memory: b.memory, store: b.store, address: address, options: options}).in(t, t.TempDir())
}

// open makes a guest in dir.
func (b *bench) open(t *testing.T, dir, options string) *Guest {
	t.Helper()
	g, err := New(Config{Plugin: b.memory.Plugin(), Guest: datastores.GuestConfig{
		InstanceID: instance, Gateways: []string{"http://127.0.0.1:1"}, AllowHTTP: true, Dir: dir, Root: dir, Address: b.address, UID: -1, GID: -1, MemoryMB: b.memoryMB,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.open(agentpoll.EnrollReply{AgentID: instance, Options: json.RawMessage(options)}); err != nil {
		t.Fatal(err)
	}
	g.blobs = b.store
	return g
}

// again is the guest of the same directory after a crash of b's.
func (b *bench) again(t *testing.T) *bench {
	t.Helper()
	next := *b
	return next.in(t, b.config.Dir)
}

func (b *bench) prepared(t *testing.T) *bench {
	t.Helper()
	b.do(t, agent.Command{Method: datastores.MethodPrepare}, datastores.PrepareArgs{})
	return b
}

// run runs a command as the agent does.
func (b *bench) run(ctx context.Context, cmd agent.Command, args any) (json.RawMessage, error) {
	if cmd.Progress == nil {
		cmd.Progress = func(agentpoll.Progress) {}
	}
	if args != nil {
		var err error
		if cmd.Args, err = json.Marshal(args); err != nil {
			return nil, err
		}
	}
	if !cmd.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, cmd.Deadline)
		defer cancel()
	}
	return handler{b.Guest}.Run(ctx, cmd)
}

// do runs a command that must succeed.
func (b *bench) do(t *testing.T, cmd agent.Command, args any) json.RawMessage {
	t.Helper()
	value, err := b.run(t.Context(), cmd, args)
	if err != nil {
		t.Fatalf("%s: %v", cmd.Method, err)
	}
	return value
}

// refused runs a command that must fail with an error of that kind.
func (b *bench) refused(t *testing.T, cmd agent.Command, args any, kind agentpoll.ErrorKind) error {
	t.Helper()
	_, err := b.run(t.Context(), cmd, args)
	var e *agentpoll.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("%s %+v = %v, want an error of kind %s", cmd.Method, args, err, kind)
	}
	return err
}

func (b *bench) wantStatus(t *testing.T, want datastores.ServiceStatus) {
	t.Helper()
	if st := b.observe(t.Context()); st.Service != want {
		t.Errorf("status = %+v, want %s", st, want)
	}
}

func read[T any](t *testing.T, value json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return v
}

func TestEveryMethodHasAHandler(t *testing.T) {
	b := newBench(t)
	for _, m := range datastores.Methods() {
		traits, ok := handler{b.Guest}.Method(m.Name)
		if !ok || traits.Long != m.Long || traits.Reads != m.Reads {
			t.Errorf("Method(%s) = %+v, %v; the table says %+v", m.Name, traits, ok, m)
		}
	}
	if len(b.table) != len(datastores.Methods()) {
		t.Errorf("%d handlers for %d methods", len(b.table), len(datastores.Methods()))
	}
}

// able is a manager without any capability.
type able struct{ datastores.Manager }

func TestMethodWithoutCapability(t *testing.T) {
	open := func(datastores.Env, inmemory.Options) datastores.Manager { return able{} }
	options := inmemory.Options{GuestOptions: datastores.GuestOptions{MountPoint: "/x"}}
	g := &Guest{plugin: datastores.NewPlugin("able", options, open)}
	g.table = g.methods()
	for name, want := range map[string]bool{
		datastores.MethodRestart: true, datastores.MethodListUsers: false, datastores.MethodEnableRoot: false, "get_hwinfo": false,
	} {
		if _, ok := (handler{g}).Method(name); ok != want {
			t.Errorf("Method(%s) = %v, want %v", name, ok, want)
		}
	}
}

// TestManagerWithoutCapabilities: the gateway does not ask for what the manifest lacks; one that does is told so.
func TestManagerWithoutCapabilities(t *testing.T) {
	b := newBench(t).prepared(t)
	s := *b.served.Load()
	s.manager = able{s.manager}
	b.served.Store(&s)
	args := map[string]any{"options": map[string]any{"release": 2}, "overrides": map[string]any{"strict": true}}
	b.plugin = datastores.NewPlugin("able", inmemory.Options{GuestOptions: s.options},
		func(datastores.Env, inmemory.Options) datastores.Manager { return s.manager })
	for _, m := range datastores.Methods() {
		if m.Needs != "" || m.Name == datastores.MethodRestart {
			b.refused(t, command(m.Name), args, agentpoll.Unsupported)
		}
	}
	for _, args := range []any{
		datastores.PrepareArgs{Overrides: datastores.Values{"strict": true}},
		datastores.PrepareArgs{Replicate: &datastores.ReplicaArgs{}},
		restore(datastores.BackupRef{BackupID: full}),
	} {
		b.refused(t, command(datastores.MethodPrepare), args, agentpoll.Unsupported)
	}
}

func TestErrorsOfArgumentsHoldNoSecret(t *testing.T) {
	b := newBench(t).prepared(t)
	_, err := b.run(t.Context(), agent.Command{Method: datastores.MethodEnableRoot, Args: json.RawMessage(`{"password":["s3cret"]}`)}, nil)
	var e *agentpoll.Error
	if !errors.As(err, &e) || e.Kind != agentpoll.Invalid || e.Message != "the arguments of enable_root are not what it takes" {
		t.Errorf("enable_root = %v", err)
	}
}

func TestTokenOfAnotherInstance(t *testing.T) {
	g := newBench(t).Guest
	if err := g.open(agentpoll.EnrollReply{AgentID: "0199d0a1-0000-7000-8000-000000000002"}); err == nil {
		t.Error("the identity of another instance was taken")
	}
}

func TestOneCallAtATime(t *testing.T) {
	b := newBench(t).prepared(t)
	release, err := b.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := agent.Command{Method: datastores.MethodListDatabases, Deadline: time.Now().Add(10 * time.Millisecond)}
	if _, err := b.run(t.Context(), list, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a list while the server is operated on = %v, want its deadline", err)
	}
	if _, err := b.run(t.Context(), agent.Command{Method: datastores.MethodPing}, nil); err != nil {
		t.Errorf("ping = %v; it asks the guest, not the server", err)
	}
	release()
	b.do(t, agent.Command{Method: datastores.MethodListDatabases}, nil)
}

func TestLoadConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "guest.json")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		for _, err := range []error{os.WriteFile(file, []byte(text), mode), os.Chmod(file, mode)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	write(`{"instance_id":"`+instance+`","address":"127.0.0.1","dir":"/d","root":"/","token":"t","uid":-1,"gid":-1}`, 0o600)
	if c, err := LoadConfig(file); err != nil || c.Token.Reveal() != "t" || c.UID != -1 {
		t.Errorf("LoadConfig = %+v, %v", c, err)
	}
	write(`{}`, 0o644)
	if _, err := LoadConfig(file); err == nil {
		t.Error("a configuration that others may read was taken")
	}
	write(`{"instance_id":"x","address":"y","dir":"z"}`, 0o600)
	_, err := LoadConfig(file)
	var all interface{ Unwrap() []error }
	if !errors.As(err, &all) || len(all.Unwrap()) != 4 {
		t.Errorf("LoadConfig = %v, want 4 problems", err)
	}
}
