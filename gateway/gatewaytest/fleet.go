package gatewaytest

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway"
)

// Quick lets a fleet enrol from one address at once.
func Quick(c *gateway.Config) { Unlimited("enrol")(c) }

// Fleet runs n agents that poll the gateways at urls, until the test ends. They are hosts, without room for an instance,
// that are asked for nothing. It returns their ids when all have enrolled.
func Fleet(t testing.TB, store *etcdschema.Store, n int, urls ...string) []string {
	t.Helper()
	return Agents(t, store, agentpoll.Host, idle{}, fleetIDs(n), urls...)
}

// Guests is a Fleet of guests: each has a healthy instance, and answers every command at once with an empty list of
// databases, so that a call to it measures everything but a database.
func Guests(t testing.TB, store *etcdschema.Store, n int, urls ...string) []string {
	t.Helper()
	for i := range n {
		in := etcdschema.Instance{
			ID: fleetID(i), Project: Project, Name: "fleet", Datastore: "memory", Version: "1", Manager: "memory", FlavorID: "1",
			Capabilities: []datastores.Capability{datastores.CanDatabases}, Prepared: true,
			Service: datastores.Status{Service: datastores.StatusHealthy},
		}
		_, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			return []etcdschema.Op{
				etcdschema.Put(etcdschema.InstanceKey(Project, in.ID), in),
				etcdschema.Put(etcdschema.InstanceGuestKey(in.ID), json.RawMessage(`{"mount_point":"/data"}`)),
			}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return Agents(t, store, agentpoll.Guest, idle{}, fleetIDs(n), urls...)
}

func fleetID(i int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", i+1) }

func fleetIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fleetID(i)
	}
	return ids
}

// Agents enrols agents with these ids, which answer with handler what they are asked and poll the gateways at urls until the
// test ends. It returns the ids when all have enrolled. Guests need the records of their instances before.
func Agents(t testing.TB, store *etcdschema.Store, kind agentpoll.Kind, handler agent.Handler, ids []string, urls ...string) []string {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	manifest, err := json.Marshal(deployments.Announcement{
		Machine: deployments.Machine{Name: "fleet", Driver: "none", Pool: Pool("127.98.0.0/16"), Capacity: capacity(handler)}, Offer: deployments.Offer{Managers: []string{"memory"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var enrolled sync.WaitGroup
	for i := range ids {
		token := agentpoll.NewSecret()
		_, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			e := etcdschema.Enrolment{Kind: kind, AgentID: ids[i], Project: Project, Created: time.Now().UTC()}
			return []etcdschema.Op{etcdschema.Put(etcdschema.EnrolmentKey(agentpoll.HashSecret(token)), e).For(time.Hour)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		enrolled.Add(1)
		a, err := agent.New(agent.Config{
			Gateways: urls, AllowHTTP: true, Dir: filepath.Join(dir, fmt.Sprint(i)), Kind: kind, Token: token, Manifest: manifest,
			Handler: handler, RotateEvery: -1, Grace: time.Millisecond,
			OnEnrolled: func(agentpoll.EnrollReply) error { enrolled.Done(); return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = a.Run(ctx) })
	}
	done := make(chan struct{})
	go func() { enrolled.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("not all agents of the fleet have enrolled within 2 minutes")
	}
	return ids
}

// capacity is what a host announces: room for instances unless it is idle.
func capacity(h agent.Handler) deployments.Capacity {
	if h == (idle{}) {
		return deployments.Capacity{}
	}
	return deployments.Capacity{MemoryMB: 1 << 20, VCPUs: 64, DiskGB: 1 << 20}
}

// idle answers everything with an empty list.
type idle struct{}

func (idle) Method(string) (agent.Traits, bool) { return agent.Traits{Reads: true}, true }

func (idle) Run(context.Context, agent.Command) (json.RawMessage, error) {
	return json.RawMessage(`{"databases":[]}`), nil
}
