package mysql

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// galeraSet is a cluster of real servers, as the gateway makes it.
type galeraSet struct {
	t    *testing.T
	ca   *datastoretest.Authority
	view datastores.ClusterView
	of   map[string]Member
}

func (s *galeraSet) viewOf(id string) datastores.ClusterView {
	v := s.view
	v.Self, v.Members, v.Progress = id, slices.Clone(v.Members), func(message string) { s.t.Logf("member %s: %s", id, message) }
	return v
}

// add makes a member and has it join.
func (s *galeraSet) add(id string) Member {
	s.t.Helper()
	env := newEnv(s.t)
	datastoretest.SpeakTLS(&env).Set(s.t, s.ca, datastores.TLSBasic, false)
	m := Member{newManager(s.t, env)}
	s.view.Members, s.of[id] = append(s.view.Members, datastores.ClusterMember{ID: id, Address: env.Address, State: datastores.ClusterJoins}), m
	v := s.viewOf(id)
	must(s.t, m.Prepare(s.t.Context(), datastores.PrepareRequest{Progress: v.Progress, Cluster: &v}))
	must(s.t, m.JoinCluster(s.t.Context(), v))
	s.view.Members[len(s.view.Members)-1].State = datastores.ClusterIn
	return m
}

// copies is how often others' data was copied to a member.
func (s *galeraSet) copies(id string) int {
	s.t.Helper()
	log, err := os.ReadFile(s.of[id].LogFile(errorLog))
	must(s.t, err)
	return strings.Count(string(log), "Proceeding with SST")
}

// TestMembers: what clustertest does not know of Galera. What one member's guest does all have; a member that is too few refuses calls; a member that hears of
// one that has just left goes on noting both; who was killed gets what it missed, and no copy of everything.
func TestMembers(t *testing.T) {
	t.Parallel()
	requireServer(t)
	ctx := t.Context()
	s := &galeraSet{t: t, ca: datastoretest.NewAuthority(t), of: map[string]Member{}, view: datastores.ClusterView{ID: instanceID(), Secret: datastores.NewSecret("theClustersOwnSecret")}}
	a := s.add("a")
	must(t, a.CreateDatabase(ctx, datastores.Database{Name: "db"}))
	b, c := s.add("b"), s.add("c")
	must(t, b.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("pass"), Databases: []datastores.Database{{Name: "db"}}}))
	for id, m := range s.of {
		until.True(t, time.Minute, "ann is let in at member "+id, func() bool {
			_, err := login(t, m.Manager, "ann", "pass", "db")
			return err == nil
		})
		must(t, m.Upkeep(ctx))
	}

	noted, err := a.loadMember()
	must(t, err)
	must(t, b.Stop(ctx))
	until.True(t, time.Minute, "member b has left", func() bool {
		st, err := a.clusterStatus(ctx, admin(t, a.Manager))
		return err == nil && st.Size == 2
	})
	must(t, a.Upkeep(ctx))
	if now, err := a.loadMember(); err != nil || now.View != noted.View || len(now.Addresses) != 3 {
		t.Errorf("when b has just left, as the first of all, a has noted %+v (%v)", now, err)
	}
	must(t, kill(ctx, c.Manager))
	until.True(t, time.Minute, "the member that is left says so", func() bool {
		st := a.Status(ctx)
		return st.Service == datastores.StatusBlocked && strings.Contains(st.Message, "too few")
	})
	_, err = a.EnableRoot(ctx, datastores.NewSecret("pw2"))
	wantKind(t, err, datastores.Unavailable)
	must(t, kill(ctx, a.Manager))
	copied := s.copies("c")
	var both sync.WaitGroup
	for _, m := range []Member{a, c} {
		both.Go(func() {
			starting, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := m.Start(starting); err != nil {
				t.Errorf("start: %v\n%s", err, m.service.LastWords())
			}
		})
	}
	both.Wait()
	must(t, b.Start(ctx))
	must(t, a.SettleCluster(ctx, s.viewOf("a")))
	if n := s.copies("c"); n != copied {
		t.Errorf("member c was copied to %d times", n-copied)
	}
}
