package double

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	electionTimeout = 1500 * time.Millisecond // 10 s by the documents
	resignTimeout   = 3 * time.Second         // how long a primary that is stopped waits for another one, 15 s by the documents
)

// hear begins to wait anew for a primary.
func (m *mongod) hear() {
	m.set.heard, m.set.patience = time.Now(), electionTimeout+time.Duration(rand.Int64N(int64(electionTimeout/2)))
}

// elect begins a term of this member's.
func (m *mongod) elect(term int64) error {
	s := m.set
	s.term, s.voted, s.state, s.why, s.hurry = term, m.self, statePrimary, "", false
	s.config = withValue(s.config, "term", term)
	for _, p := range s.peers {
		p.reached = moment{}
	}
	m.log.Info("Transition to primary complete", "term", term)
	m.hear()
	if err := m.record(record{Op: "n", Object: bson.D{{Key: "msg", Value: "new primary"}}}); err != nil {
		return err
	}
	m.broadcast()
	return m.remember()
}

// retire makes a primary a secondary.
func (m *mongod) retire(why string) {
	if m.set.state != statePrimary {
		return
	}
	m.log.Info("Stepping down from primary", "term", m.set.term, "why", why)
	m.set.state = stateSecondary
	m.hear()
	m.broadcast()
}

// seeTerm follows a term that is ahead. A primary steps down then.
func (m *mongod) seeTerm(term int64) error {
	if term <= m.set.term {
		return nil
	}
	m.retire("another member is in a later term")
	m.set.term, m.set.voted = term, ""
	return m.remember()
}

// watch is what a member does ten times a second: a primary that reaches no majority steps down, and a secondary that hears of no primary stands for
// election.
func (m *mongod) watch(ctx context.Context, all *sync.WaitGroup) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.set
	self, there := memberOf(s.config, m.self)
	if !there {
		return nil
	}
	if s.state == statePrimary {
		if voters := votersOf(s.config); m.reachable(voters) < majority(voters) {
			m.retire("it does not reach a majority")
			return nil
		}
		return m.admitNew()
	}
	if m.primary() != "" && !s.hurry {
		m.hear()
	}
	if s.state != stateSecondary || s.standing || !electable(self) || !s.hurry && (time.Since(s.heard) < s.patience || time.Now().Before(s.until)) {
		return nil
	}
	s.standing = true
	certain := s.hurry
	s.hurry = false
	all.Go(func() { m.stand(ctx, certain) })
	return nil
}

// reachable is how many of the voters answer, with this member.
func (m *mongod) reachable(voters []string) (n int) {
	for _, host := range voters {
		p := m.set.peers[host]
		if host == m.self || p != nil && p.err == nil && time.Since(p.at) < electionTimeout {
			n++
		}
	}
	return n
}

// stand asks first whether others would vote for this member, so that one that is cut off does not raise the term, and then has them vote.
func (m *mongod) stand(ctx context.Context, certain bool) {
	m.mu.Lock()
	defer func() {
		m.set.standing = false
		m.hear()
		m.mu.Unlock()
	}()
	s := m.set
	if !certain && !m.canvass(ctx, true) {
		return
	}
	if s.state != stateSecondary {
		return
	}
	term := s.term + 1
	s.term, s.voted = term, m.self
	if err := m.remember(); err != nil {
		m.log.Error("Cannot stand for election", "err", err)
		return
	}
	m.log.Info("Standing for election", "term", term)
	if !m.canvass(ctx, false) || s.term != term || s.state != stateSecondary {
		return
	}
	if self, there := memberOf(s.config, m.self); !there || !electable(self) {
		return
	}
	if err := m.elect(term); err != nil {
		m.log.Error("Cannot become the primary", "err", err)
	}
}

// canvass asks all voters for their votes. It gives the lock away while it waits.
func (m *mongod) canvass(ctx context.Context, dry bool) bool {
	s := m.set
	config, voters, term := s.config, votersOf(s.config), s.term
	question := bson.D{
		{Key: "replSetRequestVotes", Value: 1}, {Key: "setName", Value: s.name}, {Key: "dryRun", Value: dry}, {Key: "term", Value: term}, {Key: "candidate", Value: m.self},
		{Key: "configVersion", Value: integer(config, "version")}, {Key: "configTerm", Value: integer(config, "term")},
		{Key: "lastAppliedOpTime", Value: m.store.last.moment().document()},
	}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	answers := make(chan bool, len(voters))
	for _, host := range voters {
		go func() { answers <- host == m.self || m.asksVote(ctx, host, question) }()
	}
	n := 0
	for range voters {
		if <-answers {
			n++
		}
		if n >= majority(voters) {
			break
		}
	}
	m.mu.Lock()
	return n >= majority(voters) && slices.Contains(voters, m.self) && s.term == term
}

func (m *mongod) asksVote(ctx context.Context, host string, question bson.D) bool {
	c, err := m.meet(ctx, host)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	raw, err := c.Call(ctx, "admin", question)
	if err != nil {
		return false
	}
	var reply bson.D
	if err := bson.Unmarshal(raw, &reply); err != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.seeTerm(integer(reply, "term")); err != nil {
		m.log.Error("Cannot follow a term", "err", err)
	}
	return truth(reply, "voteGranted")
}

// requestVotes gives a vote, once in a term, to a candidate who has all that this member has.
func requestVotes(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	m, s := r.mongod, r.mongod.set
	term, candidate, dry := integer(r.command, "term"), text(r.command, "candidate"), truth(r.command, "dryRun")
	if !dry {
		if err := m.seeTerm(term); err != nil {
			return nil, err
		}
	}
	why := ""
	asks := bson.D{{Key: "version", Value: integer(r.command, "configVersion")}, {Key: "term", Value: integer(r.command, "configTerm")}}
	switch {
	case text(r.command, "setName") != s.name || s.config == nil:
		why = "candidate's set name differs from mine"
	case term < s.term:
		why = "candidate's term is lower than mine"
	case newer(s.config, asks):
		why = "candidate's config is older than mine"
	case momentOf(document(r.command, "lastAppliedOpTime")).compare(m.store.last.moment()) < 0:
		why = "candidate's data is staler than mine"
	case !dry && s.voted != "" && s.voted != candidate:
		why = "already voted for another candidate (" + s.voted + ") this term"
	}
	if why == "" && !dry {
		s.voted = candidate
		m.hear()
		if err := m.remember(); err != nil {
			return nil, err
		}
	}
	return bson.D{{Key: "term", Value: s.term}, {Key: "voteGranted", Value: why == ""}, {Key: "reason", Value: why}}, nil
}

// successor is an electable member that has everything; "": none.
func (m *mongod) successor() string {
	for _, member := range documents(m.set.config, "members") {
		host := text(member, "host")
		if p := m.set.peers[host]; host != m.self && electable(member) && p != nil && p.err == nil && p.state == stateSecondary && p.reached.compare(m.store.last.moment()) >= 0 {
			return host
		}
	}
	return ""
}

// stepDown has the primary wait for another one that has everything, and step down for it.
func stepDown(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	m, s := r.mongod, r.mongod.set
	if s.state != statePrimary {
		return nil, refuse(notWritablePrimary, "not primary so can't step down")
	}
	seconds := integer(r.command, "replSetStepDown")
	within := 10 * time.Second
	if _, given := get(r.command, "secondaryCatchUpPeriodSecs"); given {
		within = time.Duration(integer(r.command, "secondaryCatchUpPeriodSecs")) * time.Second
	}
	if seconds <= 0 || within > time.Duration(seconds)*time.Second {
		return nil, refuse(badValue, "stepdown period must be longer than secondaryCatchUpPeriodSecs")
	}
	if !m.await(within, func() bool { return s.state != statePrimary || m.successor() != "" }) && !truth(r.command, "force") {
		return nil, refuse(exceededTimeLimit, "No electable secondaries caught up as of now. Please use the replSetStepDown command with the argument {force: true} to force node to step down.")
	}
	m.handOver(time.Duration(seconds) * time.Second)
	return nil, nil
}

// handOver steps down and has the successor, if there is one, stand at once.
func (m *mongod) handOver(aside time.Duration) {
	next := m.successor()
	if m.set.state != statePrimary {
		return
	}
	m.set.until = time.Now().Add(aside)
	m.retire("it was told to")
	if next == "" {
		return
	}
	m.mu.Unlock()
	defer m.mu.Lock()
	ctx, cancel := context.WithTimeout(context.Background(), beatTimeout)
	defer cancel()
	c, err := m.meet(ctx, next)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Call(ctx, "admin", bson.D{{Key: "replSetStepUp", Value: 1}})
}

func stepUp(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	if r.mongod.set.state != stateSecondary {
		return nil, refuse(commandFailed, "Election failed: this node is no secondary")
	}
	r.mongod.set.hurry = true
	return nil, nil
}

// resign is what a primary does before it ends.
func (m *mongod) resign() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.set == nil || m.set.state != statePrimary || len(votersOf(m.set.config)) < 2 {
		return
	}
	m.await(resignTimeout, func() bool { return m.set.state != statePrimary || m.successor() != "" })
	m.handOver(resignTimeout)
}
