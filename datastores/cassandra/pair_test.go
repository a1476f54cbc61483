package cassandra

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// ring is one of real servers, as the gateway makes it.
type ring struct {
	t    *testing.T
	view datastores.ClusterView
	of   map[string]*Manager
}

func (r *ring) viewOf(id string) datastores.ClusterView {
	v := r.view
	v.Self, v.Members, v.Progress = id, slices.Clone(v.Members), func(message string) { r.t.Logf("member %s: %s", id, message) }
	return v
}

// add makes a member, has it join, and settles the ring.
func (r *ring) add(id string) *Manager {
	r.t.Helper()
	o := optionsOf(r.t, "5.0")
	o.JavaOptions = append(o.JavaOptions, quickly()...)
	m := newManager(r.t, newEnv(r.t), o)
	r.of[id] = m
	r.view.Members = append(r.view.Members, datastores.ClusterMember{ID: id, Address: m.env.Address, State: datastores.ClusterJoins})
	v := r.viewOf(id)
	must(r.t, m.Prepare(r.t.Context(), datastores.PrepareRequest{Progress: v.Progress, Cluster: &v}))
	must(r.t, m.JoinCluster(r.t.Context(), v))
	r.view.Members[len(r.view.Members)-1].State = datastores.ClusterIn
	must(r.t, m.SettleCluster(r.t.Context(), r.viewOf(id)))
	return m
}

// TestPair: what clustertest does not know of rings. A second server gets a copy of everything that the first one has; what one guest does with users
// ends their sessions at the other's server; copies that a tenant has asked for keep a member from leaving; and when no majority is left, the one that is left goes on with everything.
func TestPair(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := &ring{t: t, of: map[string]*Manager{}, view: datastores.ClusterView{ID: "5bd5dc4f-5ac5-4b44-8f4c-1a53cb18fbd3", Secret: datastores.NewSecret("the ring's own secret, of some length")}}
	a := r.add("a")
	must(t, a.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, a.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("first"), Databases: []datastores.Database{{Name: "shop"}}}))
	login := datastoretest.Login{Address: a.env.Address, User: "ann", Password: "first", Database: "shop"}
	const rows = 100
	_, err := write(ctx, login, 0, rows)
	must(t, err)
	wantKind(t, a.LeaveCluster(ctx, r.viewOf("a")), datastores.Conflict)

	b := r.add("b")
	must(t, b.Upkeep(ctx))
	login.Address = b.env.Address
	s, err := tenant(ctx, login)
	must(t, err)
	defer s.Close()
	must(t, s.exec(ctx, "SELECT key FROM system.local"))
	must(t, a.UpdateUser(ctx, "ann", "%", datastores.UserChange{Password: datastores.NewSecret("second")}))
	must(t, b.Upkeep(ctx))
	if s.exec(ctx, "SELECT key FROM system.local") == nil {
		t.Error("a session at one member goes on after the password was changed at the other one")
	}

	must(t, b.with(ctx, func(ctx context.Context, s *session) error {
		return s.exec(ctx, keyspace{name: "shop", class: networked}.replicated(4))
	}))
	left := r.viewOf("b")
	left.Members[1].State = datastores.ClusterLeaves
	wantKind(t, b.LeaveCluster(ctx, left), datastores.Conflict)
	must(t, b.with(ctx, func(ctx context.Context, s *session) error {
		return s.exec(ctx, keyspace{name: "shop", class: networked}.replicated(2))
	}))

	must(t, kill(ctx, a.env))
	r.view.Members[0].State = datastores.ClusterLost
	until.True(t, time.Minute, "the one that is left says that it takes nothing", func() bool { return b.Status(ctx).Service == datastores.StatusBlocked })
	for range 2 {
		must(t, b.SettleCluster(ctx, r.viewOf("b")))
	}
	login.Password = "second"
	if n, _, err := digest(ctx, login); n != rows || err != nil {
		t.Errorf("the one that is left has %d of %d rows, %v", n, rows, err)
	}
	if st := b.Status(ctx); st.Service != datastores.StatusHealthy {
		t.Errorf("status: %+v", st)
	}
}
