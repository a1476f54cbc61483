package double

import (
	"fmt"
	"math/rand/v2"
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
	synced bool // it has had data of the set
	state  int
	why    string // it is recovering
	peers  map[string]*peer
	meet   string // somebody who has asked, and whose configuration is to be fetched
	// stepped is when it stepped down.
	stepped time.Time
}

// peer is what is known of another member.
type peer struct {
	state int
	last  bson.D // its newest write: ts, t
	at    time.Time
	err   error
}

// joinSet takes up what the member remembers.
func (m *mongod) joinSet(name string) error {
	m.set = &set{name: name, state: stateStartup, peers: map[string]*peer{}}
	d := m.store.member
	if d == nil {
		return nil
	}
	config := document(d, "config")
	if text(config, "_id") != name {
		return fmt.Errorf("InvalidReplicaSetConfig: the data are of the replica set %q, and replSetName is %q", text(config, "_id"), name)
	}
	m.set.term, m.set.synced = integer(d, "term"), truth(d, "synced")
	return m.install(config)
}

func (m *mongod) remember() error {
	return m.store.write(record{Kind: memberKind, Object: bson.D{
		{Key: "config", Value: m.set.config}, {Key: "term", Value: m.set.term}, {Key: "synced", Value: m.set.synced},
	}})
}

// install makes a configuration the one in force, and the member what it is there. The one that votes elects itself.
func (m *mongod) install(config bson.D) error {
	s := m.set
	s.config = config
	self, there := memberOf(config, m.self)
	switch {
	case !there:
		s.state = stateRemoved
	case votes(self):
		if !s.synced && len(m.store.oplog) == 0 && s.state != stateStartup {
			s.state = stateRecovering
			break
		}
		if s.state != statePrimary {
			s.synced = true
			return m.elect(s.term + 1)
		}
		s.config = withValue(config, "term", s.term)
	case s.synced:
		s.state = stateSecondary
	default:
		s.state = stateCopying
	}
	m.log.Info("New replica set config in use", "version", integer(config, "version"), "state", stateNames[s.state])
	if err := m.remember(); err != nil {
		return err
	}
	return m.store.flush()
}

// elect begins a term.
func (m *mongod) elect(term int64) error {
	s := m.set
	s.term, s.state, s.why = term, statePrimary, ""
	s.config = withValue(s.config, "term", term)
	m.log.Info("Transition to primary complete", "term", term)
	if err := m.remember(); err != nil {
		return err
	}
	if err := m.record(record{Op: "n", Object: bson.D{{Key: "msg", Value: "new primary"}}}); err != nil {
		return err
	}
	return m.store.flush()
}

func memberOf(config bson.D, host string) (bson.D, bool) {
	for _, member := range documents(config, "members") {
		if text(member, "host") == host {
			return member, true
		}
	}
	return nil, false
}

func votes(member bson.D) bool {
	v, given := get(member, "votes")
	n, _ := number(v)
	return !given || n != 0
}

// voter is the host of the member that votes.
func voter(config bson.D) string {
	for _, member := range documents(config, "members") {
		if votes(member) {
			return text(member, "host")
		}
	}
	return ""
}

func (s *set) greeting(self string) bson.D {
	reply := bson.D{{Key: "secondary", Value: s.state == stateSecondary}}
	if s.config == nil || s.state == stateRemoved {
		return append(reply, bson.E{Key: "isreplicaset", Value: true})
	}
	hosts := bson.A{}
	for _, member := range documents(s.config, "members") {
		hosts = append(hosts, text(member, "host"))
	}
	reply = append(reply, bson.E{Key: "setName", Value: s.name}, bson.E{Key: "setVersion", Value: int32(integer(s.config, "version"))},
		bson.E{Key: "hosts", Value: hosts}, bson.E{Key: "me", Value: self})
	if s.state == statePrimary {
		reply = append(reply, bson.E{Key: "primary", Value: self})
	} else if p := s.peers[voter(s.config)]; p != nil && p.state == statePrimary && p.err == nil {
		reply = append(reply, bson.E{Key: "primary", Value: voter(s.config)})
	}
	return reply
}

// checkConfig refuses configurations as the documents say, and those with several votes, of which the double knows nothing.
func (m *mongod) checkConfig(config bson.D) error {
	hosts, ids, voters := map[string]bool{}, map[int64]bool{}, 0
	for _, member := range documents(config, "members") {
		host, id := text(member, "host"), integer(member, "_id")
		if host == "" || hosts[host] || ids[id] {
			return refuse(invalidConfig, "Found two member configurations with the same host or _id")
		}
		hosts[host], ids[id] = true, true
		priority, given := get(member, "priority")
		n, _ := number(priority)
		switch {
		case votes(member) && given && n == 0:
			return refuse(invalidConfig, "Replica set configuration must contain at least one non-arbiter member with priority > 0")
		case votes(member):
			voters++
		case !given || n != 0:
			return refuse(invalidConfig, "priority must be 0 when non-voting (votes:0)")
		}
	}
	if text(config, "_id") != m.set.name {
		return refuse(invalidConfig, "the set's name is "+m.set.name)
	}
	if voters != 1 {
		return refuse(invalidConfig, "the double knows only replica sets of which one member votes")
	}
	return nil
}

func (r *request) inSet() error {
	if r.mongod.set == nil {
		return refuse(noReplicationEnabled, "This node was not started with replication enabled.")
	}
	return nil
}

func initiate(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	m, config := r.mongod, document(r.command, "replSetInitiate")
	if m.set.config != nil {
		return nil, refuse(alreadyInitialized, "already initialized")
	}
	if err := m.checkConfig(config); err != nil {
		return nil, err
	}
	if voter(config) != m.self || len(documents(config, "members")) != 1 {
		return nil, refuse(kind{93, "InvalidReplicaSetConfig"}, "No host described in new configuration maps to this node")
	}
	config = withValue(withValue(config, "version", int32(1)), "settings", bson.D{{Key: "replicaSetId", Value: bson.NewObjectID()}})
	return nil, m.install(config)
}

func reconfigure(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	m, config, force := r.mongod, document(r.command, "replSetReconfig"), truth(r.command, "force")
	s := m.set
	switch {
	case s.config == nil:
		return nil, refuse(notYetInitialized, "no replset config has been received")
	case !force && s.state != statePrimary:
		return nil, refuse(notWritablePrimary, "New config rejected: replSetReconfig should only be run on a writable PRIMARY")
	case !force && integer(config, "version") != integer(s.config, "version")+1:
		return nil, refuse(newConfigMismatch, "version field value of the new config must be one more than that of the current one")
	}
	if err := m.checkConfig(config); err != nil {
		return nil, err
	}
	if _, there := memberOf(config, m.self); !there {
		return nil, refuse(kind{74, "NodeNotFound"}, "No host described in new configuration maps to this node")
	}
	config = withValue(config, "settings", document(s.config, "settings"))
	config = withValue(config, "term", s.term)
	if force {
		config = withValue(config, "version", max(integer(s.config, "version"), integer(config, "version"))+10000+int64(rand.IntN(90000)))
		config = withValue(config, "term", int64(-1))
	}
	return nil, m.install(config)
}

func getConfig(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	if r.mongod.set.config == nil {
		return nil, refuse(notYetInitialized, "no replset config has been received")
	}
	return bson.D{{Key: "config", Value: r.mongod.set.config}}, nil
}

func opTime(ts bson.Timestamp, term int64) bson.D {
	return bson.D{{Key: "ts", Value: ts}, {Key: "t", Value: term}}
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
	last := opTime(m.store.last.TS, m.store.last.Term)
	members := bson.A{}
	for _, member := range documents(s.config, "members") {
		host := text(member, "host")
		d := bson.D{{Key: "_id", Value: integer(member, "_id")}, {Key: "name", Value: host}}
		if host == m.self {
			d = append(d, bson.E{Key: "health", Value: 1.0}, bson.E{Key: "state", Value: int32(s.state)}, bson.E{Key: "stateStr", Value: stateNames[s.state]},
				bson.E{Key: "optime", Value: last}, bson.E{Key: "self", Value: true}, bson.E{Key: "infoMessage", Value: s.why})
		} else if p := s.peers[host]; p != nil && p.err == nil {
			d = append(d, bson.E{Key: "health", Value: 1.0}, bson.E{Key: "state", Value: int32(p.state)}, bson.E{Key: "stateStr", Value: stateNames[p.state]},
				bson.E{Key: "optime", Value: p.last})
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
	return bson.D{
		{Key: "set", Value: s.name}, {Key: "myState", Value: int32(s.state)}, {Key: "term", Value: s.term}, {Key: "syncSourceHost", Value: m.syncSource()},
		{Key: "optimes", Value: bson.D{{Key: "appliedOpTime", Value: last}, {Key: "durableOpTime", Value: last}}}, {Key: "members", Value: members},
	}, nil
}

// syncSource is whom a secondary copies from; "" when there is nobody.
func (m *mongod) syncSource() string {
	s := m.set
	if s.state != stateSecondary && s.state != stateCopying {
		return ""
	}
	if p := s.peers[voter(s.config)]; p != nil && p.err == nil && p.state == statePrimary {
		return voter(s.config)
	}
	return ""
}
