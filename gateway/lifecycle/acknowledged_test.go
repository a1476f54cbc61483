package lifecycle_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// What servers have of what was written, whom they wait for, and what their clients were told: the contract of [datastores.Failover], as a model.

// stored is what a server has stored.
type stored struct {
	log     []int           // of numbered writes
	await   waited          // for whom it acknowledges
	stands  bool            // it acknowledges what it receives
	fenced  bool            // it receives nothing
	lost    bool            // its machine has no power
	cut     bool            // its guest is reached by nobody; the server runs
	waiting []int           // writes of clients that are not told yet
	lets    map[string]bool // of a source that cannot tell its replicas apart: whom it lets in
}

type waited struct {
	count      int
	candidates []string
}

// told is what a command tells a guest, as package plan makes its arguments.
type told struct {
	kind     string // of the operation that it is of
	await    waited
	ceased   []string
	lets     map[string]bool
	position uint64
}

func (h *history) tells(c lifecycle.Command) (t told) {
	op := h.set.Operation
	if c.Set == "" || op == nil {
		if own := h.records[c.Subject]; own.Failed == lifecycle.Rejoin {
			t.kind = lifecycle.Failover // which takes back what it alone has
		} else if own.Operation != nil {
			t.kind = own.Operation.Kind
		}
		return t
	}
	t.kind, t.ceased = op.Kind, op.Ceased
	t.lets = map[string]bool{}
	for _, m := range h.set.Members {
		t.lets[m.ID] = m.State == ""
	}
	if op.Position != nil {
		t.position = op.Position.Count
	}
	switch policy := h.set.Failover; {
	case policy == nil:
	case c.Method == datastores.MethodAwaitReplicas:
		t.await = waited{op.Acks, op.Candidates}
	case c.Method == datastores.MethodEnableAsMaster && policy.Strict && !policy.Off:
		for _, m := range h.set.Members {
			if m.ID != op.Lead && m.State == "" {
				t.await.candidates = append(t.await.candidates, m.ID)
			}
		}
		t.await.count = min(policy.Acks, len(t.await.candidates))
	}
	return t
}

// does lets a server do what its guest is told, and returns how far it has come; or why it could not.
func (h *history) does(id string, c lifecycle.Command) (uint64, *agentpoll.Error) {
	h.Helper()
	s, t := h.servers[id], h.told[c.ID]
	switch c.Method {
	case datastores.MethodUpgrade:
		s.version = "2"
	case datastores.MethodMakeReadOnly:
		s.readOnly = c.ReadOnly
	case datastores.MethodEnableAsMaster:
		for _, n := range slices.Sorted(maps.Keys(h.acked)) {
			if slices.Contains(s.log, n) {
				continue
			}
			if t.kind != lifecycle.Eject && !h.bounded { // which is by a person, who knows what that means
				h.Fatalf("%s becomes the source by %s, and lacks write %d, which was acknowledged: %+v\n%s", id, t.kind, n, h.set, h.servers)
			}
			delete(h.acked, n)
		}
		s.source, s.readOnly, s.await, s.stands, s.fenced, s.lets = true, false, t.await, false, false, t.lets
	case datastores.MethodReplicationSnapshot:
		s.lets[c.Subject] = true
	case datastores.MethodCleanupSource:
		delete(s.lets, c.Subject)
	case datastores.MethodDetachReplica:
		s.source, s.readOnly, s.left = true, false, true
	case datastores.MethodAttachReplica, datastores.MethodPrepare:
		return 0, h.follows(id, h.aims[c.ID], c.Method == datastores.MethodPrepare, t.kind)
	case datastores.MethodStand:
		if s.source {
			return 0, agentpoll.Errorf(agentpoll.Conflict, "the server is no replica")
		}
		s.fenced, s.stands = c.ReadOnly, s.stands || !c.ReadOnly
	case datastores.MethodAwaitReplicas:
		s.await = t.await
		for _, id := range t.ceased {
			delete(s.lets, id)
		}
	case datastores.MethodWaitForTxn:
		if h.receive(id, len(h.servers[s.follows].written())); uint64(len(s.log)) < t.position {
			return 0, agentpoll.Errorf(agentpoll.Internal, "it does not come so far")
		}
	}
	return uint64(len(s.log)), nil
}

func (s *server) written() []int {
	if s == nil {
		return nil
	}
	return s.log
}

// follows makes a server a replica. What it has and the source has not is in the way, unless it is made anew or its engine can take that back.
func (h *history) follows(id, of string, anew bool, kind string) *agentpoll.Error {
	s, source := h.servers[id], h.servers[of]
	if source == nil && of != "" || source == s {
		return agentpoll.Errorf(agentpoll.Internal, "there is no source")
	}
	if h.bounded && source != nil && !source.lets[id] {
		return agentpoll.Errorf(agentpoll.Internal, "the source does not let it in")
	}
	log := slices.Clone(source.written())
	if !anew {
		common := 0
		for common < min(len(log), len(s.log)) && log[common] == s.log[common] {
			common++
		}
		if common < len(s.log) && (kind != lifecycle.Failover || rapid.Bool().Draw(h.T, "its engine takes nothing back")) {
			return agentpoll.Errorf(agentpoll.Conflict, "it has what the source has not")
		}
		log = s.log[:common:common]
	}
	s.log, s.source, s.left, s.follows = log, false, false, of
	s.await, s.stands, s.fenced, s.waiting, s.lets = waited{}, false, false, nil, map[string]bool{}
	return nil
}

// writeTo lets a client write to a server, whoever it thinks is the source.
func (h *history) writeTo(id string) {
	if s := h.servers[id]; s.source && !s.readOnly && !s.gone && !s.left && !s.lost {
		h.writes++
		s.log, s.waiting = append(s.log, h.writes), append(s.waiting, h.writes)
		h.acknowledge()
	}
}

// receive lets a replica receive so many writes of its source.
func (h *history) receive(id string, most int) {
	s := h.servers[id]
	source := h.servers[s.follows]
	if source == nil || !source.source || source.gone || source.lost || s.source || s.fenced || s.lost || s.gone || h.bounded && !source.lets[id] || len(s.log) > len(source.log) || !slices.Equal(s.log, source.log[:len(s.log)]) {
		return
	}
	s.log = append(slices.Clip(s.log), source.log[len(s.log):min(len(source.log), len(s.log)+most)]...)
	h.acknowledge()
}

// stand are the candidates of a server that acknowledge what they receive from it, or would when their machines have power.
func (h *history) stand(id string) (all []*server) {
	if h.bounded { // it hears whoever it lets in
		for c, s := range h.servers {
			if s.follows == id && !s.source && !s.fenced && !s.gone && h.servers[id].lets[c] {
				all = append(all, s)
			}
		}
		return all
	}
	for _, c := range h.servers[id].await.candidates {
		if s := h.servers[c]; s != nil && s.follows == id && !s.source && s.stands && !s.fenced && !s.gone {
			all = append(all, s)
		}
	}
	return all
}

// acknowledges reports whether a server can acknowledge writes.
func (h *history) acknowledges(id string) bool {
	s := h.servers[id]
	return s.source && !s.readOnly && !s.gone && !s.left && len(h.stand(id)) >= s.await.count
}

// acknowledge tells the clients what is safe.
func (h *history) acknowledge() {
	for id, s := range h.servers {
		if !s.source || s.lost || s.gone || s.left {
			continue
		}
		stand := h.stand(id)
		s.waiting = slices.DeleteFunc(s.waiting, func(n int) bool {
			have := 0
			for _, c := range stand {
				if !c.lost && (h.bounded || slices.Contains(c.log, n)) {
					have++
				}
			}
			if have >= s.await.count {
				h.acked[n] = true
			}
			return have >= s.await.count
		})
	}
}

// failovers is a history of a set with a policy, to which little else happens than that its source is lost.
type failovers struct{ *history }

// TestHistoriesOfFailovers lets machines lose their power and guests their gateways, in any order, while clients write: no two servers of a set can
// ever acknowledge, and who becomes the source has all that was acknowledged. Who looks may be wrong about who is there.
func TestHistoriesOfFailovers(t *testing.T) {
	histories(t, func(t *rapid.T) world {
		h := newHistory(t)
		h.setPolicy(false)
		return failovers{h}
	})
}

func (h failovers) happens() {
	ids := slices.Sorted(maps.Keys(h.records))
	if len(ids) == 0 {
		return
	}
	switch rapid.SampledFrom([]string{"round", "round", "round", "write", "write", "write", "look", "look", "lose", "anything"}).Draw(h.T, "event") {
	case "round": // everybody does what there is to do, if he can
		for _, id := range ids {
			h.report(id, false)
			h.deliver(id)
			h.execute(id, rapid.IntRange(0, 15).Draw(h.T, "ends badly") == 0)
			h.answer(id, rapid.IntRange(0, 15).Draw(h.T, "refused") == 0)
		}
	case "write":
		for _, id := range ids {
			h.writeTo(id)
		}
		for _, id := range ids {
			h.receive(id, rapid.IntRange(0, 3).Draw(h.T, "writes"))
		}
	case "look":
		h.look(h.seen(), false)
	case "lose":
		id := rapid.SampledFrom(append(ids, h.set.Source(), h.set.Source())).Draw(h.T, "member")
		if s := h.servers[id]; s != nil && !s.lost {
			h.lose(id)
		} else if s != nil {
			s.lost, s.cut = false, false
		}
	default:
		h.history.happens()
	}
}

// rest lets one member stay away at first, as one does whose machine is gone: the others come to rest without it.
func (h failovers) rest() {
	if ids := slices.Sorted(maps.Keys(h.records)); len(ids) > 0 && h.set.Failover != nil {
		h.goesOnWithout(rapid.SampledFrom(append(ids, h.set.Source())).Draw(h.T, "who stays away"))
	}
	h.history.rest()
}

// goesOnWithout fails when a member that stays away is a candidate for minutes beside enough that are there: then the next source could not be lost. As long as somebody has
// asked for something of it, it may come to follow at any time.
func (h failovers) goesOnWithout(away string) {
	h.Helper()
	h.lose(away)
	gone := map[string]time.Time{away: h.now}
	for range 300 {
		for _, id := range slices.Sorted(maps.Keys(h.servers)) {
			s := h.servers[id]
			if _, is := h.records[id]; !is || id == away {
				continue
			}
			s.gone, s.lost, s.cut = false, false, false
			h.receive(id, h.writes)
			h.report(id, false)
			h.deliver(id)
			h.execute(id, false)
			h.answer(id, false)
			h.enrol(id, false)
			h.commit(id, lifecycle.Event{Type: lifecycle.Overdue}, false)
		}
		h.commit("set", lifecycle.Event{Type: lifecycle.Overdue}, false)
		h.look(gone, false)
		h.check()
		h.now = h.now.Add(time.Second)
		f, op := h.set.Failover, h.records[away].Operation
		if f == nil || f.Off || op != nil && (op.Kind != lifecycle.Failover || op.Step != string(lifecycle.Following)) || !slices.Contains(f.Candidates, away) && len(f.Candidates) >= f.Acks {
			return
		}
	}
	f, op, source, there := h.set.Failover, h.set.Operation, h.records[h.set.Source()], 0
	for _, id := range h.set.Replicas() {
		if in := h.records[id]; id != away && in.Failed == "" && in.Operation == nil && in.Service.Replication != nil && in.Service.Replication.Follows {
			there++
		}
	}
	decides := source.Operation == nil && source.Failed != lifecycle.Fence && h.set.GivenUp == "" && (op == nil || op.Kind == lifecycle.Arrange)
	if decides && there >= f.Acks && slices.Contains(f.Candidates, away) {
		h.Fatalf("%s is away and a candidate: %+v\n%+v %+v\n%+v\n%s", away, h.set, f, op, h.records, h.servers)
	}
}

// seen are who seems to be away, since long ago.
func (h *history) seen() map[string]time.Time {
	gone := map[string]time.Time{}
	for _, id := range slices.Sorted(maps.Keys(h.servers)) {
		if is := h.servers[id]; is.lost || is.cut || is.gone || rapid.IntRange(0, 9).Draw(h.T, id+" seems to be away") == 0 {
			gone[id] = h.now.Add(-time.Hour)
		}
	}
	return gone
}

func (h *history) lose(id string) {
	s := h.servers[id]
	s.lost, s.queue, s.seen, s.waiting = true, nil, map[string]bool{}, nil
}

// trouble is what happens to machines and links, and what is due of a set with a policy.
func (h *history) trouble(id string, refused bool) {
	switch rapid.SampledFrom([]string{"lose", "cut", "write", "write", "receive", "receive", "report", "look", "look", "policy"}).Draw(h.T, "trouble") {
	case "lose":
		h.lose(id)
	case "cut":
		h.servers[id].cut = !h.servers[id].cut
	case "write":
		h.writeTo(id)
	case "receive":
		h.receive(id, rapid.IntRange(1, 3).Draw(h.T, "writes"))
	case "report":
		h.report(id, refused)
	case "look":
		h.look(h.seen(), refused)
	case "policy":
		h.setPolicy(refused)
	}
}

func (h *history) setPolicy(refused bool) {
	if h.set.ID == "" {
		return
	}
	e := lifecycle.Event{Type: lifecycle.AskArrange}
	if rapid.IntRange(0, 3).Draw(h.T, "manual") > 0 {
		e.Policy = &etcdschema.Failover{Acks: rapid.IntRange(1, 2).Draw(h.T, "acks"), Grace: 30, Strict: rapid.Bool().Draw(h.T, "strict"), Bounded: h.bounded}
	}
	h.commit("set", e, refused)
}

func (h *history) look(gone map[string]time.Time, refused bool) {
	if h.set.ID != "" && h.set.Failover != nil {
		h.commit("set", lifecycle.Event{Type: lifecycle.AskFailover, Gone: gone}, refused)
	}
}

// report lets a guest tell how its server is.
func (h *history) report(id string, refused bool) {
	s := h.servers[id]
	if s.lost || s.cut || s.gone || h.records[id].ID == "" {
		return
	}
	st := datastores.Status{Service: datastores.StatusHealthy, Replication: &datastores.Following{Role: datastores.RoleSource, Since: h.now}}
	if !s.source {
		source := h.servers[s.follows]
		st.Replication = &datastores.Following{Role: datastores.RoleReplica, Since: h.now, Follows: !s.fenced && source != nil && source.source && !source.lost && (!h.bounded || source.lets[id])}
	}
	h.commit(id, lifecycle.Event{Type: lifecycle.Reported, Status: st}, refused)
}

func (s *server) String() string {
	return fmt.Sprintf("{source %v readOnly %v follows %s stored %+v}", s.source, s.readOnly, s.follows, s.stored)
}
