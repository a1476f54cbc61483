package attacks

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// obedient is an agent that does whatever it is asked, and notes it.
type obedient struct {
	mu  sync.Mutex
	ran []string // ids
}

func (o *obedient) Method(string) (agent.Traits, bool) { return agent.Traits{}, true }

func (o *obedient) Run(_ context.Context, cmd agent.Command) (json.RawMessage, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ran = append(o.ran, cmd.ID)
	return nil, nil
}

func (o *obedient) did(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.ran, id)
}

// forged are commands that an attacker can make: without a MAC, with his own ones, and with one that the gateways made for another.
func forged(t *testing.T, s scene, agentID string) map[string]agentpoll.Command {
	t.Helper()
	remove := agentpoll.Command{ID: newID(), Method: "remove", Args: json.RawMessage(`{}`), Deadline: time.Now().Add(time.Hour)}
	own := remove
	own.ID = newID()
	own.Sign(bytes.Repeat([]byte{7}, 32), agentID)
	// He has put a key and a credential of his own in the place of the agent's, and has asked a gateway what to believe.
	private, err := agentpoll.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	taken := remove
	taken.ID = newID()
	taken.Sign(agentpoll.CommandKey(private, s.gatewaysKey(t), agentID), agentID)
	copied := remove
	copied.ID, copied.MAC = newID(), s.mac(t)
	return map[string]agentpoll.Command{"unsigned": remove, "signed by another": own, "signed for another": copied, "signed by who took its place": taken}
}

// mac has the gateways make a command, for a guest, and returns their MAC of it.
func (s scene) mac(t *testing.T) []byte {
	t.Helper()
	guest := rogueGuest(t, s).credential.AgentID
	awaitTrue(t, "the command to prepare", func() bool { return len(s.commands(t, guest)) > 0 })
	mac := s.commands(t, guest)[0].MAC
	if len(mac) != 32 {
		t.Fatalf("the gateways have not signed a command: %x", mac)
	}
	return mac
}

// gatewaysKey is the public key that gateways tell agents.
func (s scene) gatewaysKey(t *testing.T) []byte {
	t.Helper()
	rec, err := etcdschema.Get(t.Context(), s.store, etcdschema.CommandsAuthorityKey())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(rec.Value.Certificate))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return public.(*ecdh.PublicKey).Bytes()
}

// TestH12WriterOfEtcd puts commands for a host into etcd, as somebody who can write there and has no key file.
func TestH12WriterOfEtcd(t *testing.T) {
	s := newScene(t)
	obeys := new(obedient)
	host := gatewaytest.Agents(t, s.store, agentpoll.Host, obeys, []string{newID()}, s.URL)[0]
	for what, cmd := range forged(t, s, host) {
		_, err := s.store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			return []etcdschema.Op{etcdschema.Put(etcdschema.CommandKey(host, cmd.ID), etcdschema.Command{Command: cmd})}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var result agentpoll.Result
		awaitTrue(t, "the answer to a command that is "+what, func() bool {
			rec, err := etcdschema.Get(t.Context(), s.store, etcdschema.ResultKey(cmd.ID))
			result = rec.Value.Result
			return err == nil
		})
		if result.Error == nil || result.Error.Kind != agentpoll.Refused || obeys.did(cmd.ID) {
			t.Errorf("%s: the result is %+v, done: %t", what, result.Error, obeys.did(cmd.ID))
		}
	}
}

// TestH12TakenPort takes the gateway's port, over plain HTTP, while the gateway is down: the credential comes, obedience does not.
func TestH12TakenPort(t *testing.T) {
	s := newScene(t, gatewaytest.Hold(time.Second))
	obeys := new(obedient)
	host := gatewaytest.Agents(t, s.store, agentpoll.Host, obeys, []string{newID()}, s.URL)[0]
	address := strings.TrimPrefix(s.URL, "http://")
	commands := forged(t, s, host)
	s.Stop(t)
	var mu sync.Mutex
	results := map[string]agentpoll.Result{}
	fake := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.URL.Path == agentpoll.PathPoll:
			reply := agentpoll.PollReply{Cursor: agentpoll.Cursor{Epoch: "e", Revision: 1}}
			for _, cmd := range commands {
				if _, done := results[cmd.ID]; !done {
					reply.Commands = append(reply.Commands, cmd)
				}
			}
			_ = json.NewEncoder(w).Encode(reply)
		case strings.HasSuffix(r.URL.Path, "/result"):
			var result agentpoll.Result
			_ = json.NewDecoder(r.Body).Decode(&result)
			results[strings.Split(r.URL.Path, "/")[4]] = result
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = fake.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = fake.Close() })
	awaitTrue(t, "the answers to the taker of the port", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(results) == len(commands)
	})
	for what, cmd := range commands {
		if result := results[cmd.ID]; result.Error == nil || result.Error.Kind != agentpoll.Refused || obeys.did(cmd.ID) {
			t.Errorf("%s: the result is %+v, done: %t", what, result.Error, obeys.did(cmd.ID))
		}
	}
}
