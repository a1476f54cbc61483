package etcdschema_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

func write(t *testing.T, s *etcdschema.Store, ops ...etcdschema.Op) {
	t.Helper()
	_, err := s.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil })
	if err != nil {
		t.Fatal(err)
	}
}

func TestSession(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	renewed := make(chan struct{}, 1)
	session, err := s.NewSession(t.Context(), 2*time.Second, func() { renewed <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	key := etcdschema.GatewayKey(uuid.NewString())
	write(t, s, etcdschema.Put(key, etcdschema.Gateway{Version: "1"}).On(session))
	srv.RevokeLeases(t)
	if n := len(srv.All(t, "/server/gateways/")); n != 0 {
		t.Fatalf("%d records outlive the lease", n)
	}
	select {
	case <-renewed:
	case <-time.After(soon):
		t.Fatal("the session was not renewed")
	}
	write(t, s, etcdschema.Put(key, etcdschema.Gateway{Version: "1"}).On(session))
	for range 2 {
		if err := session.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n, leases := len(srv.All(t, "/server/gateways/")), srv.Leases(t); n != 0 || leases != 0 {
		t.Errorf("%d records and %d leases outlive the session", n, leases)
	}
	_, err = s.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Put(key, etcdschema.Gateway{}).On(session)}, nil
	})
	if err != etcdschema.ErrSessionLost {
		t.Errorf("a put on a closed session: %v", err)
	}
}

func TestLeaseBuckets(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	for range 10 {
		write(t, s, etcdschema.Put(etcdschema.ResultKey(uuid.NewString()), etcdschema.CommandResult{}).For(time.Minute))
	}
	write(t, s, etcdschema.Put(etcdschema.EventKey(uuid.NewString(), 1), etcdschema.Event{}).For(time.Hour))
	if n := srv.Leases(t); n != 2 {
		t.Errorf("11 records of two lifetimes have %d leases", n)
	}
	// An etcd that was set back does not know the leases any more.
	srv.RevokeLeases(t)
	write(t, s, etcdschema.Put(etcdschema.ResultKey(uuid.NewString()), etcdschema.CommandResult{}).For(time.Minute))
	if n := len(srv.All(t, "/guest/results/")); n != 1 {
		t.Errorf("%d results, want the one put after the leases were lost", n)
	}
}

func TestEpoch(t *testing.T) {
	s := etcdtest.New(t)
	first, err := s.EnsureEpoch(t.Context())
	if err != nil || first.ID == "" {
		t.Fatal(first, err)
	}
	if again, err := s.EnsureEpoch(t.Context()); err != nil || again != first {
		t.Errorf("EnsureEpoch again: %v, %v; want %v", again, err, first)
	}
	fresh, err := s.NewEpoch(t.Context(), "restored")
	if err != nil || fresh.ID == first.ID {
		t.Errorf("NewEpoch: %v, %v", fresh, err)
	}
	if now, err := s.EnsureEpoch(t.Context()); err != nil || now != fresh {
		t.Errorf("EnsureEpoch after NewEpoch: %v, %v; want %v", now, err, fresh)
	}
}
