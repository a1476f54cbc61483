package gateway_test

import (
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestCommandKeyWaitsForOldGateways enrols agents beside a gateway of a version that signs nothing: they are told no key, and obey. When
// it has gone they are told.
func TestCommandKeyWaitsForOldGateways(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	put := func(op etcdschema.Op) {
		t.Helper()
		if _, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return []etcdschema.Op{op}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	old := etcdschema.GatewayKey("00000000-0000-7000-8000-00000000000a")
	put(etcdschema.Put(old, etcdschema.Gateway{Version: "0.9", Address: "gateway2:8779", Started: time.Now().UTC()}))
	g := gatewaytest.Start(t, store, func(c *gateway.Config) { c.AgentCAs = []string{agentpoll.HashSecret("ca")} })
	agent := "00000000-0000-7000-8000-00000000000b"
	trust := g.Trust(t.Context(), agent)
	if len(trust.CAs) != 1 || len(trust.CommandKeys) != 0 {
		t.Errorf("beside an old gateway: %+v", trust)
	}
	put(etcdschema.Delete(old))
	waiting := etcdschema.CommandKey(agent, "00000000-0000-7000-8000-00000000000c")
	put(etcdschema.Put(waiting, etcdschema.Command{Command: agentpoll.Command{ID: "00000000-0000-7000-8000-00000000000c", Method: "launch"}}))
	if trust := g.Trust(t.Context(), agent); len(trust.CommandKeys) != 0 {
		t.Errorf("while a command of an old gateway waits: %+v", trust)
	}
	put(etcdschema.Delete(waiting))
	first := g.Trust(t.Context(), agent)
	second := gatewaytest.Start(t, store).Trust(t.Context(), agent)
	if len(first.CommandKeys) != 1 || len(second.CommandKeys) != 1 || string(first.CommandKeys[0]) != string(second.CommandKeys[0]) {
		t.Errorf("gateways name the keys %x and %x", first.CommandKeys, second.CommandKeys)
	}
}
