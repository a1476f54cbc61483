package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// site is a gateway that can be restarted, over an etcd that stays.
type site struct {
	*testing.T
	store           *etcdschema.Store
	keys            *keyring.Keyring
	dir, keyFile    string
	address, server string
	stop            func()
}

func newSite(t *testing.T) *site {
	etcd, dir := etcdtest.Start(t), t.TempDir()
	s := &site{T: t, store: etcd.Store(t), dir: dir, keyFile: filepath.Join(dir, "keys"), address: free(t), server: etcd.Endpoint(), stop: func() {}}
	line := keyring.NewLine()
	write(t, s.keyFile, []byte(line))
	var err error
	if s.keys, err = keyring.Parse(line); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop() })
	s.restart()
	return s
}

func (s *site) restart() {
	s.Helper()
	s.stop()
	ctx, cancel := context.WithCancel(context.Background())
	var logs bytes.Buffer
	told, ended := newTold(), make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-listen", s.address, "-data-dir", s.dir, "-key-file", s.keyFile, "-etcd-endpoints", s.server, "-hold", "2s"}, told, &logs)
	}()
	select {
	case <-told.serving:
	case err := <-ended:
		s.Fatalf("the gateway: %v\n%s", err, logs.String())
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the gateway: %v", err)
		}
	})
}

type noMethods struct{}

func (noMethods) Method(string) (agent.Traits, bool)                          { return agent.Traits{}, false }
func (noMethods) Run(context.Context, agent.Command) (json.RawMessage, error) { return nil, nil }

// host enrols an agent that knows the gateway by the CAs of its token, and runs it until the test ends.
func (s *site) host(id string, cas ...string) *agent.Agent {
	s.Helper()
	token := agentpoll.Token{Secret: agentpoll.NewSecret(), CAs: cas}
	_, err := s.store.Update(s.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		e := etcdschema.Enrolment{Kind: agentpoll.Host, AgentID: id, Created: time.Now().UTC()}
		return []etcdschema.Op{etcdschema.Put(etcdschema.EnrolmentKey(agentpoll.HashSecret(token.Secret)), e).For(time.Hour)}, nil
	})
	if err != nil {
		s.Fatal(err)
	}
	pool, err := deployments.ParsePool("127.98.0.0/16")
	if err != nil {
		s.Fatal(err)
	}
	manifest, _ := json.Marshal(deployments.Announcement{Machine: deployments.Machine{Name: id, Driver: "none", Pool: pool}, Offer: deployments.Offer{Managers: []string{"memory"}}})
	enrolled := make(chan struct{})
	a, err := agent.New(agent.Config{
		Gateways: []string{"https://" + s.address}, Dir: s.TempDir(), Kind: agentpoll.Host, Token: token.String(), Manifest: manifest, Handler: noMethods{},
		RotateEvery: -1, Grace: time.Millisecond, OnEnrolled: func(agentpoll.EnrollReply) error { close(enrolled); return nil },
	})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	s.Cleanup(func() { cancel(); running.Wait() })
	select {
	case <-enrolled:
	case <-time.After(time.Minute):
		s.Fatal("the host has not enrolled within a minute")
	}
	return a
}

// reaches reports whether a gateway answers an agent, be it that it may not rotate so soon.
func reaches(a *agent.Agent) error {
	err := a.Rotate(context.Background())
	if _, answered := errors.AsType[*agentpoll.Error](err); answered {
		return nil
	}
	return err
}

// wantRefused wants an error that says this.
func (s *site) wantRefused(err error, says string) {
	s.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		s.Errorf("the error is %v, want %q", err, says)
	}
}

// TestAuthorityTakesAnothersPlace goes the way of docs/operations.md with two hosts: one is told of the next CA and lives through the
// change, the other is left behind.
func TestAuthorityTakesAnothersPlace(t *testing.T) {
	s := newSite(t)
	ctx, told, left := t.Context(), "00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b"
	known, err := gateway.KnownAuthorities(ctx, s.store, s.keys)
	if err != nil || len(known) != 1 || len(known[0].ServedBy) != 1 {
		t.Fatalf("%+v, %v", known, err)
	}
	first := known[0].Fingerprint
	survivor, loser := s.host(told, first), s.host(left, first)
	_, err = gateway.SwitchAuthorities(ctx, s.store, s.keys, true)
	s.wantRefused(err, "there is one CA only")

	next, err := gateway.NextAuthority(ctx, s.store, s.keys)
	if err != nil {
		t.Fatal(err)
	}
	_, err = gateway.NextAuthority(ctx, s.store, s.keys)
	s.wantRefused(err, "there are two already")
	_, err = gateway.SwitchAuthorities(ctx, s.store, s.keys, false)
	s.wantRefused(err, "restart "+s.address)
	s.restart()
	_, err = gateway.SwitchAuthorities(ctx, s.store, s.keys, false)
	s.wantRefused(err, "2 agents have not been told")
	until.True(t, time.Minute, "the rotation", func() bool { return survivor.Rotate(ctx) == nil })
	until.True(t, time.Minute, "the use of the next credential", func() bool {
		rec, err := etcdschema.Get(ctx, s.store, etcdschema.AgentKey(told))
		return err == nil && slices.Equal(rec.Value.CAs, []string{first, next})
	})
	_, err = gateway.SwitchAuthorities(ctx, s.store, s.keys, false)
	s.wantRefused(err, "1 agents have not been told of "+next+": "+left)
	if signs, err := gateway.SwitchAuthorities(ctx, s.store, s.keys, true); err != nil || signs != next {
		t.Fatalf("switched to %s: %v", signs, err)
	}
	_, err = gateway.DropAuthority(ctx, s.store, s.keys)
	s.wantRefused(err, "restart "+s.address)
	s.restart()
	until.True(t, time.Minute, "the host that was told", func() bool { return reaches(survivor) == nil })
	s.wantRefused(reaches(loser), "does not hold the pinned CA")
	s.host("00000000-0000-7000-8000-00000000000c", next)

	if dropped, err := gateway.DropAuthority(ctx, s.store, s.keys); err != nil || dropped != first {
		t.Fatalf("dropped %s: %v", dropped, err)
	}
	s.restart()
	until.True(t, time.Minute, "the host that was told", func() bool { return reaches(survivor) == nil })
	text, err := os.ReadFile(filepath.Join(s.dir, "ca.pem"))
	if err != nil || bytes.Count(text, []byte("BEGIN CERTIFICATE")) != 1 {
		t.Errorf("ca.pem has not one certificate: %v\n%s", err, text)
	}
	resp, err := trusting(t, filepath.Join(s.dir, "ca.pem")).Get("https://" + s.address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
