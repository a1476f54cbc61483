package attacks

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// poll asks for work as an agent does, and returns at once.
func (r rogue) poll(t *testing.T) (status int) {
	t.Helper()
	status, _ = r.call(t, http.MethodPost, agentpoll.PathPoll, agentpoll.PollRequest{Running: []string{newID()}})
	return status
}

// TestH8AStolenAgentCredential lets a thief rotate the credential that it has stolen and use the new one, so that the guest that it was
// stolen from is shut out; and looks that neither goes on, that the operator is told, and that the guest comes back.
func TestH8AStolenAgentCredential(t *testing.T) {
	s := newScene(t)
	honest := rogueGuest(t, s)
	s.makeActive(t, honest)
	thief := honest
	next := agentpoll.NewSecret()
	if status, body := thief.call(t, http.MethodPost, agentpoll.PathRotate, agentpoll.RotateRequest{Sequence: 1, CredentialHash: agentpoll.HashSecret(next)}); status != http.StatusOK {
		t.Fatalf("rotate: %d %s", status, body)
	}
	thief.credential.Secret = next
	if status := thief.poll(t); status != http.StatusOK {
		t.Fatalf("the thief's first poll: %d", status)
	}
	if status, _ := thief.call(t, http.MethodPost, agentpoll.PathRotate, agentpoll.RotateRequest{Sequence: 2, CredentialHash: agentpoll.HashSecret("x")}); status != http.StatusServiceUnavailable {
		t.Errorf("the thief rotates again at once: %d", status)
	}
	awaitTrue(t, "the guest to be shut out", func() bool { return honest.poll(t) == http.StatusUnauthorized }) // calls that were under way may be
	s.later(t, honest.credential.AgentID, 2*time.Minute)
	awaitTrue(t, "the guest to be told of the lock", func() bool { return honest.poll(t) == http.StatusForbidden })
	awaitTrue(t, "the thief to be shut out", func() bool { return thief.poll(t) == http.StatusForbidden })

	at := gatewaytest.Instance(honest.credential.AgentID)
	member := s.Client(gatewaytest.Member)
	if why := member.Do(t, http.MethodGet, at+"/why", ""); !strings.Contains(why.Text("why", "summary"), "locked") || why.At("why", "agent_connected") != false {
		t.Errorf("why: %s", why.Body)
	}
	if events := member.Do(t, http.MethodGet, at+"/events", ""); !strings.Contains(string(events.Body), "two machines used its identity") {
		t.Errorf("the timeline says nothing of it: %s", events.Body)
	}
	if !strings.Contains(s.Metrics(t), "coffer_agents_locked_total 1") {
		t.Error("the lock was not counted")
	}
	s.Client(gatewaytest.Admin).Want(t, http.StatusAccepted, http.MethodPost, "/mgmt/agents/"+honest.credential.AgentID+"/unlock", "")
	if why := member.Do(t, http.MethodGet, at+"/why", ""); strings.Contains(why.Text("why", "summary"), "locked") {
		t.Errorf("why, after the lock has ended: %s", why.Body)
	}
	if events := member.Do(t, http.MethodGet, at+"/events", ""); strings.Count(string(events.Body), "An operator has ended the guest's lock.") != 1 {
		t.Errorf("the timeline says nothing of the end of the lock: %s", events.Body)
	}
	awaitTrue(t, "the guest to come back", func() bool { return honest.poll(t) == http.StatusOK })
	awaitTrue(t, "the thief's credential to be dead", func() bool { return thief.poll(t) == http.StatusUnauthorized })
	last := agentpoll.NewSecret()
	if status, body := honest.call(t, http.MethodPost, agentpoll.PathRotate, agentpoll.RotateRequest{Sequence: 1, CredentialHash: agentpoll.HashSecret(last)}); status != http.StatusServiceUnavailable {
		t.Errorf("the guest rotates: %d %s; want to be asked to wait", status, body)
	}
	s.later(t, honest.credential.AgentID, time.Hour)
	if status, body := honest.call(t, http.MethodPost, agentpoll.PathRotate, agentpoll.RotateRequest{Sequence: 1, CredentialHash: agentpoll.HashSecret(last)}); status != http.StatusOK {
		t.Errorf("the guest rotates: %d %s", status, body)
	}
}

// later has so much time pass for an agent's retired credentials.
func (s scene) later(t *testing.T, agent string, by time.Duration) {
	t.Helper()
	key := etcdschema.AgentKey(agent)
	_, err := s.store.Update(t.Context(), []etcdschema.Ref{key}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(snap, key)
		for i := range rec.Value.Retired {
			rec.Value.Retired[i].At = rec.Value.Retired[i].At.Add(-by)
		}
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, err
	})
	if err != nil {
		t.Fatal(err)
	}
}
