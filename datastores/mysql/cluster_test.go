package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
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

// set says where members stand.
func (s *galeraSet) set(state datastores.ClusterState, ids ...string) {
	for i, m := range s.view.Members {
		if slices.Contains(ids, m.ID) {
			s.view.Members[i].State = state
		}
	}
}

// add makes a member and has it join.
func (s *galeraSet) add(id string) {
	s.t.Helper()
	began := time.Now()
	env := newEnv(s.t)
	datastoretest.SpeakTLS(&env).Set(s.t, s.ca, datastores.TLSBasic, false)
	m := Member{newManager(s.t, env)}
	s.view.Members, s.of[id] = append(s.view.Members, datastores.ClusterMember{ID: id, Address: env.Address, State: datastores.ClusterOutside}), m
	v := s.viewOf(id)
	must(s.t, m.Prepare(s.t.Context(), datastores.PrepareRequest{Progress: v.Progress, Cluster: &v}))
	s.set(datastores.ClusterJoins, id)
	for range 2 {
		must(s.t, m.JoinCluster(s.t.Context(), s.viewOf(id)))
	}
	s.set(datastores.ClusterIn, id)
	s.t.Logf("member %s joined in %s", id, time.Since(began).Round(time.Millisecond))
}

func (s *galeraSet) settle(id string) {
	s.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.t.Context(), long)
	defer cancel()
	must(s.t, s.of[id].SettleCluster(ctx, s.viewOf(id)))
	s.t.Logf("settled in %s", time.Since(began).Round(time.Millisecond))
}

// counting is a client that writes numbered rows, one after the other, at whichever member takes them.
type counting struct {
	password string
	acked    []int
	longest  time.Duration
	stop     context.CancelFunc
	ended    chan struct{}
}

// count starts one at all members that there are now, which it may lose.
func (s *galeraSet) count(password string) *counting {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	c := &counting{password: password, stop: stop, ended: make(chan struct{})}
	var at []*sql.DB
	for _, m := range s.view.Members {
		db, err := dialWithin(m.Address, rootUser, password, 2*time.Second)
		must(s.t, err)
		at = append(at, db)
	}
	go func() {
		defer close(c.ended)
		last := time.Now()
		for n, where := 1, 0; ctx.Err() == nil; {
			_, err := at[where%len(at)].ExecContext(ctx, "INSERT INTO db.counted VALUES (?) ON DUPLICATE KEY UPDATE n = n", n)
			if err != nil {
				where++
				service.Pause(ctx, 20*time.Millisecond)
				continue
			}
			c.acked, c.longest, last = append(c.acked, n), max(c.longest, time.Since(last)), time.Now()
			n++
			where++
			service.Pause(ctx, 5*time.Millisecond)
		}
		for _, db := range at {
			_ = db.Close()
		}
	}()
	return c
}

// wants ends the client, and wants every row that was acknowledged at each of the members.
func (s *galeraSet) wants(c *counting, what string, ids ...string) {
	s.t.Helper()
	c.stop()
	<-c.ended
	s.t.Logf("%s: %d rows, at most %s without a write", what, len(c.acked), c.longest.Round(time.Millisecond))
	if len(c.acked) == 0 {
		s.t.Errorf("%s: nothing was written", what)
	}
	for _, id := range ids {
		var n int
		db := admin(s.t, s.of[id].Manager)
		must(s.t, execute(s.t.Context(), db, "SET SESSION wsrep_sync_wait = 1"))
		must(s.t, db.QueryRow("SELECT COUNT(*) FROM db.counted WHERE n <= ?", len(c.acked)).Scan(&n))
		if n != len(c.acked) {
			s.t.Errorf("%s: member %s has %d of %d rows", what, id, n, len(c.acked))
		}
	}
	must(s.t, execute(s.t.Context(), admin(s.t, s.of[ids[0]].Manager), "DELETE FROM db.counted"))
}

// long is within what time a member does whatever it is told.
const long = 4 * time.Minute

// together does something at several members at once. Who does not come to an end within long says what it waits for.
func (s *galeraSet) together(do func(context.Context, Member) error, ids ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), long)
	defer cancel()
	failures := make(chan error, len(ids))
	for _, id := range ids {
		go func() {
			err := do(ctx, s.of[id])
			if err != nil {
				err = fmt.Errorf("member %s: %w", id, err)
			}
			failures <- err
		}()
	}
	for range ids {
		if err := <-failures; err != nil {
			s.t.Error(err)
		}
	}
	if s.t.Failed() {
		s.tellAll()
		s.t.FailNow()
	}
}

// tellAll logs where each server stands, and the end of what it has said.
func (s *galeraSet) tellAll() {
	for id, m := range s.of {
		s.t.Logf("member %s: %+v\n%s", id, m.Status(context.WithoutCancel(s.t.Context())), m.service.LastWords())
	}
}

// wantNoCopy wants that a member was not copied to since it was so often.
func (s *galeraSet) wantNoCopy(since int, id string) {
	s.t.Helper()
	if n := s.copies(id); n != since {
		s.t.Errorf("member %s was copied to %d times", id, n-since)
	}
}

// copies is how often others' data was copied to a member.
func (s *galeraSet) copies(id string) int {
	log, err := os.ReadFile(s.of[id].LogFile(errorLog))
	must(s.t, err)
	return strings.Count(string(log), "Proceeding with SST")
}

// TestGalera has a cluster of real servers that speak TLS to each other: it is made, written to while members are killed, stopped,
// grown and shrunk, and it comes back when all were killed, or all were stopped.
func TestGalera(t *testing.T) {
	t.Parallel()
	requireServer(t)
	ctx := t.Context()
	s := &galeraSet{t: t, ca: datastoretest.NewAuthority(t), of: map[string]Member{}, view: datastores.ClusterView{ID: instanceID(), Secret: datastores.NewSecret("theClustersOwnSecret")}}
	s.add("a")
	_, err := s.of["a"].EnableRoot(ctx, datastores.NewSecret("pw"))
	must(t, err)
	must(t, s.of["a"].CreateDatabase(ctx, datastores.Database{Name: "db"}))
	must(t, execute(ctx, admin(t, s.of["a"].Manager), "CREATE TABLE db.counted (n INT PRIMARY KEY)"))
	s.add("b")
	s.add("c")
	s.settle("a")

	// What one member's guest does all have.
	must(t, s.of["b"].CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("pass"), Databases: []datastores.Database{{Name: "db"}}}))
	for id, m := range s.of {
		until.True(t, time.Minute, "ann is let in at member "+id, func() bool {
			_, err := login(t, m.Manager, "ann", "pass", "db")
			return err == nil
		})
		must(t, m.Upkeep(ctx))
	}

	kill := func(ctx context.Context, m Member) error { return datastoretest.KillServer(ctx, m.service) }
	start := func(ctx context.Context, m Member) error {
		err := m.Start(ctx)
		if ended := (*service.Failure)(nil); errors.As(err, &ended) { // see ADR 51: its guest starts it again, too
			t.Logf("a server has ended: %v\n%s", err, ended.Words)
			err = m.Start(ctx)
		}
		return err
	}
	stop := func(ctx context.Context, m Member) error { return m.Stop(ctx) }
	restart := func(ctx context.Context, m Member) error { return errors.Join(m.Stop(ctx), start(ctx, m)) }

	// One is killed, and comes back with what it missed.
	c, copied := s.count("pw"), s.copies("b")
	s.together(kill, "b")
	s.together(start, "b")
	s.settle("a")
	s.wants(c, "one is killed", "a", "b", "c")
	s.wantNoCopy(copied, "b")

	// All restart, one after the other.
	c = s.count("pw")
	for _, id := range []string{"a", "b", "c"} {
		s.together(restart, id)
		s.settle("a")
	}
	s.wants(c, "all restart", "a", "b", "c")

	// Two are killed: the third takes nothing, and says why.
	s.together(kill, "a", "c")
	until.True(t, time.Minute, "the member that is left says so", func() bool {
		st := s.of["b"].Status(ctx)
		return st.Service == datastores.StatusBlocked && strings.Contains(st.Message, "too few")
	})
	_, err = s.of["b"].EnableRoot(ctx, datastores.NewSecret("pw2"))
	wantKind(t, err, datastores.Unavailable)
	s.together(start, "a", "c")
	s.settle("b")

	s.areCut(t)

	// All are killed.
	c = s.count("pw")
	until.True(t, time.Minute, "something is written", func() bool { return s.rows("a") > 50 })
	s.together(kill, "c")
	s.together(kill, "a", "b")
	began := time.Now()
	s.together(start, "a", "b", "c")
	t.Logf("back after %s", time.Since(began).Round(time.Millisecond))
	s.settle("c")
	s.wants(c, "all are killed", "a", "b", "c")

	// All are stopped, one after the other, and all at once, when none is the last.
	for _, id := range []string{"c", "a", "b"} {
		s.together(stop, id)
	}
	s.together(start, "a", "b", "c")
	s.settle("c")
	began = time.Now()
	s.together(stop, "a", "b", "c")
	s.together(start, "a", "b", "c")
	t.Logf("all were stopped at once, and are back after %s", time.Since(began).Round(time.Millisecond))
	s.settle("c")

	// One leaves that was among the first, another one comes.
	c = s.count("pw")
	s.set(datastores.ClusterLeaves, "a")
	for range 2 {
		must(t, s.of["a"].LeaveCluster(ctx, s.viewOf("a")))
	}
	s.view.Members = s.view.Members[1:]
	s.settle("b")
	s.add("d")
	s.settle("d")
	s.wants(c, "one leaves, another one comes", "b", "c", "d")
}

// rows is how many a member has.
func (s *galeraSet) rows(id string) (n int) {
	s.t.Helper()
	must(s.t, admin(s.t, s.of[id].Manager).QueryRow("SELECT COUNT(*) FROM db.counted").Scan(&n))
	return n
}
