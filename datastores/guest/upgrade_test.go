package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

func release(text string) datastores.UpgradeArgs {
	return datastores.UpgradeArgs{Options: json.RawMessage(text)}
}

func TestUpgrade(t *testing.T) {
	b := newBench(t).filled(t, 3)
	b.do(t, command(datastores.MethodUpgrade), release(`{"release":2,"ignore_users":["ann"]}`))
	for range 2 { // the second is started with the new options, though it has enrolled with the old ones
		b.wantItems(t, 3)
		b.refused(t, command(datastores.MethodGetUser), datastores.UserArgs{Name: "ann"}, agentpoll.Invalid)
		b.do(t, command(datastores.MethodRestart), nil)
		b.wantStatus(t, datastores.StatusHealthy)
		b = b.again(t)
	}
	starts := b.memory.Starts(address)
	b.do(t, repeated(datastores.MethodUpgrade), release(`{"release":2, "ignore_users":["ann"]}`)) // its result was lost
	if n := b.memory.Starts(address); n != starts {
		t.Error("a repeated upgrade that was through has interrupted the tenants again")
	}
	b.do(t, repeated(datastores.MethodUpgrade), release(`{"release":2}`))
	b.do(t, command(datastores.MethodGetUser), datastores.UserArgs{Name: "ann"})
}

func TestUpgradeIsRefused(t *testing.T) {
	b := newBench(t)
	b.refused(t, command(datastores.MethodUpgrade), release(`{"release":2}`), agentpoll.Conflict)
	b.prepared(t).do(t, command(datastores.MethodUpgrade), release(`{"release":2}`))
	for _, options := range []string{`{"release":1}`, `{"release":"x"}`, `{"colours":1}`, `{"mount_point":"/srv"}`, `{"device_path":"/dev/sdz"}`} {
		starts := b.memory.Starts(address)
		b.refused(t, command(datastores.MethodUpgrade), release(options), agentpoll.Invalid)
		b.wantStatus(t, datastores.StatusHealthy)
		if more := b.memory.Starts(address) - starts; more > 1 || more == 1 && options != `{"release":1}` {
			t.Errorf("%s: the server was stopped for nothing", options)
		}
	}
	starts := b.memory.Starts(address)
	obstacle, err := b.memory.Obstruct(t.Context(), datastores.Env{}, datastoretest.Login{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.run(t.Context(), command(datastores.MethodUpgrade), release(`{"release":3}`))
	if b.memory.Starts(address) != starts || err == nil || !strings.Contains(err.Error(), obstacle.Named) {
		t.Errorf("with something in the way: %d starts, %v", b.memory.Starts(address)-starts, err)
	}
	if err := obstacle.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.refused(t, command(datastores.MethodUpgrade), nil, agentpoll.Invalid)
	b.again(t).do(t, command(datastores.MethodRestart), nil) // with release 2
}

func TestRefusedUpgradeOfAStoppedServer(t *testing.T) {
	b := newBench(t).prepared(t)
	b.memory.Fail(address, datastores.MethodUpgrade, datastores.Errorf(datastores.Invalid, "tables need repair"))
	b.do(t, command(datastores.MethodStop), nil)
	b.refused(t, command(datastores.MethodUpgrade), release(`{"release":2}`), agentpoll.Invalid)
	b.wantStatus(t, datastores.StatusShutdown)
	b.memory.Fail(address, datastores.MethodUpgrade, nil)
	b.do(t, command(datastores.MethodUpgrade), release(`{"release":2}`))
	b.wantStatus(t, datastores.StatusHealthy)
}

// TestUpgradeCut ends the guest in the middle of an upgrade: nobody but the upgrade may start the server.
func TestUpgradeCut(t *testing.T) {
	b := newBench(t).filled(t, 3)
	held := b.memory.Hold(address, datastores.MethodUpgrade)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.run(ctx, command(datastores.MethodUpgrade), release(`{"release":2}`)); err == nil {
		t.Fatal("it was not cut")
	}
	held()
	b = b.again(t)
	supervised(t, b, func() {
		time.Sleep(time.Hour)
		if st := b.observe(t.Context()); st.Service != datastores.StatusShutdown || st.Message == "" {
			t.Errorf("status %+v, want a shutdown that says why", st)
		}
	})
	b = b.again(t)
	for _, method := range []string{datastores.MethodStart, datastores.MethodListUsers, datastores.MethodCreateBackup, datastores.MethodGetConfiguration} {
		b.refused(t, command(method), nil, agentpoll.Conflict)
	}
	b.memory.Fail(address, datastores.MethodUpgrade, datastores.Errorf(datastores.Invalid, "tables need repair"))
	b.refused(t, command(datastores.MethodUpgrade), release(`{"release":3}`), agentpoll.Invalid)
	b.refused(t, command(datastores.MethodStart), nil, agentpoll.Conflict) // the data may be half way to 2
	b.memory.Fail(address, datastores.MethodUpgrade, nil)
	b.do(t, repeated(datastores.MethodUpgrade), release(`{"release":2}`))
	b.wantStatus(t, datastores.StatusHealthy)
	b.wantItems(t, 3)
}

// TestStatusDuringAnUpgrade asks all the time, as the agent may.
func TestStatusDuringAnUpgrade(t *testing.T) {
	b := newBench(t).prepared(t)
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				if st := b.observe(ctx); st.Service != datastores.StatusHealthy && st.Service != datastores.StatusShutdown {
					t.Errorf("status %+v", st)
				}
				_, err := b.run(ctx, command(datastores.MethodListUsers), nil)
				var e *agentpoll.Error
				if err != nil && ctx.Err() == nil && (!errors.As(err, &e) || e.Kind != agentpoll.Conflict) {
					t.Errorf("list: %v", err)
				}
			}
		})
	}
	for n := range 20 {
		b.do(t, command(datastores.MethodUpgrade), release(fmt.Sprintf(`{"release":%d}`, n+2)))
	}
	cancel()
	asking.Wait()
}
