package guest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
)

// remote is a whole guest with its agent, as the binary is, and a gateway to command it.
type remote struct {
	*agentpolltest.Server
	id     string
	config Config

	end  context.CancelFunc
	done sync.WaitGroup
}

func newRemote(t *testing.T, gateway *agentpolltest.Server, memory *inmemory.Datastore, address string) *remote {
	t.Helper()
	return newRemoteWith(t, gateway, memory, address, `{}`)
}

func newRemoteWith(t *testing.T, gateway *agentpolltest.Server, memory *inmemory.Datastore, address, options string) *remote {
	t.Helper()
	token, id := gateway.Token(json.RawMessage(options))
	dir := t.TempDir()
	r := &remote{Server: gateway, id: id, config: Config{Plugin: memory.Plugin(), Guest: datastores.GuestConfig{
		InstanceID: id, Gateways: []string{gateway.URL}, AllowHTTP: true, Token: datastores.NewSecret(token), Dir: dir, Root: dir, Address: address, UID: -1, GID: -1,
	}}}
	r.start(t)
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *remote) start(t *testing.T) {
	t.Helper()
	g, err := New(r.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	r.done.Go(func() {
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func (r *remote) stop() {
	r.end()
	r.done.Wait()
}

func (r *remote) send(t *testing.T, method string, args any) (commandID string) {
	t.Helper()
	b, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	return r.Enqueue(r.id, agentpoll.Command{Method: method, Args: b})
}

func (r *remote) result(t *testing.T, commandID string) agentpoll.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result, err := r.WaitResult(ctx, commandID)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (r *remote) do(t *testing.T, method string, args any) json.RawMessage {
	t.Helper()
	result := r.result(t, r.send(t, method, args))
	if result.Error != nil {
		t.Fatalf("%s: %v", method, result.Error)
	}
	return result.Value
}

// TestBackupOverTheWire has a backup cancelled, one whose guest ends in the middle, one that is damaged, and a restore.
func TestBackupOverTheWire(t *testing.T) {
	memory := &inmemory.Datastore{}
	gateway := agentpolltest.NewServer(t)
	source := newRemote(t, gateway, memory, address)
	source.do(t, datastores.MethodPrepare, json.RawMessage(
		`{"databases":[{"name":"shop"}],"users":[{"name":"ann","password":"pass","databases":[{"name":"shop"}]}]}`))
	login := datastoretest.Login{Address: address, User: "ann", Password: "pass", Database: "shop"}
	if _, err := memory.Write(t.Context(), login, 0, 10); err != nil {
		t.Fatal(err)
	}
	args := datastores.BackupArgs{BackupID: full, Key: key}

	held := memory.Hold(address, datastores.MethodCreateBackup)
	cancelled := source.send(t, datastores.MethodCreateBackup, args)
	if _, err := gateway.WaitProgress(t.Context(), cancelled, 1); err != nil {
		t.Fatal(err)
	}
	gateway.Cancel(cancelled)
	cut := source.send(t, datastores.MethodCreateBackup, args)
	if _, err := gateway.WaitProgress(t.Context(), cut, 1); err != nil {
		t.Fatal(err)
	}
	source.stop()
	held()
	gateway.FailSegments(1, 503)
	source.start(t)
	result := source.result(t, cut)
	if result.Error != nil {
		t.Fatal(result.Error)
	}
	made := read[datastores.BackupResult](t, result.Value)

	whole := gateway.Segments(full)
	damaged := gateway.Segments(full)
	damaged[1][20] ^= 1
	gateway.SetSegments(full, damaged)
	target := newRemote(t, gateway, memory, elsewhere)
	failed := target.result(t, target.send(t, datastores.MethodPrepare, restore(made.BackupRef)))
	if failed.Error == nil || !strings.Contains(failed.Error.Message, "segment 1 is damaged") {
		t.Errorf("a damaged backup was restored: %+v", failed)
	}
	gateway.SetSegments(full, whole)
	target.do(t, datastores.MethodPrepare, restore(made.BackupRef))
	login.Address = elsewhere
	if items, _, err := memory.Digest(t.Context(), login); err != nil || items != 10 {
		t.Errorf("%d items were restored, %v", items, err)
	}

	target.do(t, datastores.MethodLogAction, datastores.LogArgs{Name: "error", Publish: true})
	if chunks := gateway.LogChunks(target.id, "error"); len(chunks) != 1 || !strings.Contains(string(chunks[1]), "started") {
		t.Errorf("published: %d chunks, the first %q", len(chunks), chunks[1])
	}
	target.do(t, datastores.MethodLogAction, datastores.LogArgs{Name: "error", Discard: true})
	if chunks := gateway.LogChunks(target.id, "error"); len(chunks) > 0 {
		t.Errorf("%d chunks are still published", len(chunks))
	}
}

// TestOptionsThatAreNotGood: a guest that has nothing to manage enrols all the same, and says why to whatever it is told.
func TestOptionsThatAreNotGood(t *testing.T) {
	gateway := agentpolltest.NewServer(t)
	r := newRemoteWith(t, gateway, &inmemory.Datastore{}, address, `{"hue":"red","mount_point":"x"}`)
	for range 2 { // and again after a start
		for _, method := range []string{datastores.MethodPrepare, datastores.MethodListUsers, datastores.MethodRestart} {
			result := r.result(t, r.send(t, method, nil))
			if result.Error == nil || !strings.Contains(result.Error.Message, "hue: unknown option") || !strings.Contains(result.Error.Message, "mend its definition") {
				t.Errorf("%s: %+v", method, result)
			}
		}
		r.stop()
		r.start(t)
	}
}
