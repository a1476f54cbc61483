package double

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The states of members, as MongoDB numbers them.
const (
	stateStartup    = 0
	statePrimary    = 1
	stateSecondary  = 2
	stateRecovering = 3
	stateCopying    = 5 // STARTUP2
	stateRemoved    = 10
)

var stateNames = map[int]string{0: "STARTUP", 1: "PRIMARY", 2: "SECONDARY", 3: "RECOVERING", 5: "STARTUP2", 10: "REMOVED"}

// set is a member's view of its replica set.
type set struct {
	name   string
	config bson.D // nil: not initiated
	term   int64
	voted  string // for whom this member has voted in the term
	synced bool   // it has had data of the set
	state  int
	why    string // it is recovering
	peers  map[string]*peer
	meet   string // somebody who has asked, and whose configuration is to be fetched

	committed moment        // what a majority is known to have
	heard     time.Time     // when there was a primary, or an election, the last time
	patience  time.Duration // how long there may be none before this member stands for election
	until     time.Time     // before that it does not stand: it was told to step down
	hurry     bool          // it was told to stand
	standing  bool
}

// peer is what is known of another member.
type peer struct {
	state   int
	term    int64
	last    moment // its newest write
	reached moment // up to where its history is known to be the primary's, and on its disk
	at      time.Time
	err     error
	version int64 // of its configuration
	cterm   int64
}

// moment is a place in a set's history, an optime.
type moment struct {
	TS   bson.Timestamp `bson:"ts"`
	Term int64          `bson:"t"`
}

func (a moment) compare(b moment) int { return cmp.Or(cmp.Compare(a.Term, b.Term), a.TS.Compare(b.TS)) }

func (a moment) document() bson.D { return bson.D{{Key: "ts", Value: a.TS}, {Key: "t", Value: a.Term}} }

func momentOf(d bson.D) moment {
	v, _ := get(d, "ts")
	ts, _ := v.(bson.Timestamp)
	return moment{ts, integer(d, "t")}
}

func (r record) moment() moment { return moment{r.TS, r.Term} }

// joinSet takes up what the member remembers.
func (m *mongod) joinSet(name string) error {
	m.set = &set{name: name, state: stateStartup, peers: map[string]*peer{}}
	m.hear()
	d := m.store.member
	if d == nil {
		return nil
	}
	config := document(d, "config")
	if text(config, "_id") != name {
		return fmt.Errorf("InvalidReplicaSetConfig: the data are of the replica set %q, and replSetName is %q", text(config, "_id"), name)
	}
	m.set.term, m.set.voted, m.set.synced = integer(d, "term"), text(d, "voted"), truth(d, "synced")
	return m.install(config)
}

// remember makes what must outlive the server last.
func (m *mongod) remember() error {
	err := m.store.write(record{Kind: memberKind, Object: bson.D{
		{Key: "config", Value: m.set.config}, {Key: "term", Value: m.set.term}, {Key: "voted", Value: m.set.voted}, {Key: "synced", Value: m.set.synced},
	}})
	if err != nil {
		return err
	}
	return m.flush()
}

// flush has the journal on the disk, and what waits for it look again.
func (m *mongod) flush() error {
	if err := m.store.flush(); err != nil {
		return err
	}
	if m.set != nil {
		m.commit()
	}
	return nil
}

// install makes a configuration the one in force, and the member what it is there. A member that votes alone elects itself.
func (m *mongod) install(config bson.D) error {
	s := m.set
	s.config = config
	self, there := memberOf(config, m.self)
	was := s.state
	switch {
	case !there:
		s.state = stateRemoved
	case !s.synced:
		s.state = stateCopying
	case was == statePrimary && electable(self):
		s.config = withValue(config, "term", s.term)
	case was != stateRecovering:
		s.state = stateSecondary
	}
	if voters := votersOf(config); there && s.synced && electable(self) && s.state != statePrimary && len(voters) == 1 && voters[0] == m.self {
		return m.elect(s.term + 1)
	}
	m.log.Info("New replica set config in use", "version", integer(config, "version"), "state", stateNames[s.state])
	m.hear()
	m.broadcast()
	return m.remember()
}

func memberOf(config bson.D, host string) (bson.D, bool) {
	for _, member := range documents(config, "members") {
		if text(member, "host") == host {
			return member, true
		}
	}
	return nil, false
}

// asked reports whether a member is to vote. A new member does not vote yet: see newlyAdded.
func asked(member bson.D) bool {
	v, given := get(member, "votes")
	n, _ := number(v)
	return !given || n != 0
}

// newlyAdded marks members that do not vote before they have had the data, since MongoDB 5.0.
const newlyAdded = "newlyAdded"

func votes(member bson.D) bool { return asked(member) && !truth(member, newlyAdded) }

func electable(member bson.D) bool {
	priority, given := get(member, "priority")
	n, _ := number(priority)
	return votes(member) && (!given || n > 0)
}

// votersOf are the hosts of the members that vote.
func votersOf(config bson.D) (hosts []string) {
	for _, member := range documents(config, "members") {
		if votes(member) {
			hosts = append(hosts, text(member, "host"))
		}
	}
	return hosts
}

func majority(of []string) int { return len(of)/2 + 1 }

// primary is the host of the member that this one takes for the primary; "": none.
func (m *mongod) primary() (host string) {
	s := m.set
	if s.state == statePrimary {
		return m.self
	}
	for at, p := range s.peers {
		if _, there := memberOf(s.config, at); there && p.err == nil && p.state == statePrimary && p.term >= s.term {
			host = at
		}
	}
	return host
}

// commit looks up to where a majority has the primary's history. Only what is of its own term counts by itself.
func (m *mongod) commit() {
	s := m.set
	if s.state != statePrimary {
		return
	}
	var reached []moment
	voters := votersOf(s.config)
	for _, host := range voters {
		if host == m.self {
			reached = append(reached, m.store.durable)
		} else if p := s.peers[host]; p != nil {
			reached = append(reached, p.reached)
		} else {
			reached = append(reached, moment{})
		}
	}
	if len(reached) == 0 {
		return
	}
	slices.SortFunc(reached, func(a, b moment) int { return b.compare(a) })
	if all := reached[majority(voters)-1]; all.Term == s.term && all.compare(s.committed) > 0 {
		s.committed = all
		m.broadcast()
	}
}

func (s *set) greeting(m *mongod) bson.D {
	reply := bson.D{{Key: "secondary", Value: s.state == stateSecondary}}
	if s.config == nil || s.state == stateRemoved {
		return append(reply, bson.E{Key: "isreplicaset", Value: true})
	}
	hosts, passives := bson.A{}, bson.A{}
	for _, member := range documents(s.config, "members") {
		if electable(member) {
			hosts = append(hosts, text(member, "host"))
		} else {
			passives = append(passives, text(member, "host"))
		}
	}
	reply = append(reply, bson.E{Key: "setName", Value: s.name}, bson.E{Key: "setVersion", Value: int32(integer(s.config, "version"))},
		bson.E{Key: "hosts", Value: hosts}, bson.E{Key: "passives", Value: passives}, bson.E{Key: "me", Value: m.self},
		bson.E{Key: "lastWrite", Value: bson.D{{Key: "opTime", Value: m.store.last.moment().document()}, {Key: "lastWriteDate", Value: bson.NewDateTimeFromTime(time.Now())},
			{Key: "majorityOpTime", Value: s.committed.document()}}})
	if s.state == statePrimary {
		id := bson.ObjectID{0x7f, 0xff, 0xff, 0xff} // of the term, so that drivers tell a primary from an earlier one
		for i := range 8 {
			id[11-i] = byte(s.term >> (8 * i))
		}
		reply = append(reply, bson.E{Key: "electionId", Value: id})
	}
	if primary := m.primary(); primary != "" {
		reply = append(reply, bson.E{Key: "primary", Value: primary})
	}
	return reply
}

func getStatus(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	m, s := r.mongod, r.mongod.set
	if s.config == nil {
		return nil, refuse(notYetInitialized, "no replset config has been received")
	}
	if s.state == stateRemoved {
		return nil, refuse(invalidConfig, "Our replica set config is invalid or we are not a member of it")
	}
	last := m.store.last.moment().document()
	members := bson.A{}
	for _, member := range documents(s.config, "members") {
		host := text(member, "host")
		d := bson.D{{Key: "_id", Value: integer(member, "_id")}, {Key: "name", Value: host}}
		if host == m.self {
			d = append(d, bson.E{Key: "health", Value: 1.0}, bson.E{Key: "state", Value: int32(s.state)}, bson.E{Key: "stateStr", Value: stateNames[s.state]},
				bson.E{Key: "optime", Value: last}, bson.E{Key: "self", Value: true}, bson.E{Key: "infoMessage", Value: s.why})
		} else if p := s.peers[host]; p != nil && p.err == nil {
			d = append(d, bson.E{Key: "health", Value: 1.0}, bson.E{Key: "state", Value: int32(p.state)}, bson.E{Key: "stateStr", Value: stateNames[p.state]},
				bson.E{Key: "optime", Value: p.last.document()})
		} else {
			why := ""
			if p != nil {
				why = p.err.Error()
			}
			d = append(d, bson.E{Key: "health", Value: 0.0}, bson.E{Key: "state", Value: int32(8)}, bson.E{Key: "stateStr", Value: "(not reachable/healthy)"},
				bson.E{Key: "lastHeartbeatMessage", Value: why})
		}
		members = append(members, d)
	}
	voters := votersOf(s.config)
	return bson.D{
		{Key: "set", Value: s.name}, {Key: "myState", Value: int32(s.state)}, {Key: "term", Value: s.term}, {Key: "syncSourceHost", Value: m.syncSource()},
		{Key: "votingMembersCount", Value: int32(len(voters))}, {Key: "majorityVoteCount", Value: int32(majority(voters))},
		{Key: "optimes", Value: bson.D{
			{Key: "lastCommittedOpTime", Value: s.committed.document()}, {Key: "appliedOpTime", Value: last}, {Key: "durableOpTime", Value: m.store.durable.document()},
		}},
		{Key: "members", Value: members},
	}, nil
}

// syncSource is whom a secondary copies from; "" when there is nobody.
func (m *mongod) syncSource() string {
	if s := m.set; s.state != stateSecondary && s.state != stateCopying {
		return ""
	}
	return m.primary()
}
