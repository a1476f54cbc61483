package double

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	mostMembers = 50
	mostVoters  = 7
)

// checkConfig refuses configurations as the documents say.
func (m *mongod) checkConfig(config bson.D) error {
	hosts, ids, voters, able := map[string]bool{}, map[int64]bool{}, 0, 0
	members := documents(config, "members")
	for _, member := range members {
		host, id := text(member, "host"), integer(member, "_id")
		if host == "" || hosts[host] || ids[id] {
			return refuse(invalidConfig, "Found two member configurations with the same host or _id")
		}
		hosts[host], ids[id] = true, true
		priority, given := get(member, "priority")
		n, _ := number(priority)
		if asked(member) {
			voters++
		} else if !given || n != 0 {
			return refuse(invalidConfig, "priority must be 0 when non-voting (votes:0)")
		}
		if asked(member) && (!given || n > 0) {
			able++
		}
	}
	switch {
	case text(config, "_id") != m.set.name:
		return refuse(invalidConfig, "the set's name is "+m.set.name)
	case len(members) > mostMembers:
		return refuse(invalidConfig, fmt.Sprintf("Replica set configuration contains %d members, but must have at least 1 and no more than %d members", len(members), mostMembers))
	case voters > mostVoters:
		return refuse(invalidConfig, fmt.Sprintf("Replica set configuration contains %d voting members, but must be at least 1 and no more than %d", voters, mostVoters))
	case able == 0:
		return refuse(invalidConfig, "Replica set configuration must contain at least one non-arbiter member with priority > 0")
	}
	return nil
}

func (r *request) inSet() error {
	if r.mongod.set == nil {
		return refuse(noReplicationEnabled, "This node was not started with replication enabled.")
	}
	return nil
}

// initiate makes a set of this server alone; others are added to it.
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
	if _, there := memberOf(config, m.self); !there || len(documents(config, "members")) != 1 {
		return nil, refuse(invalidConfig, "No host described in new configuration maps to this node; the double initiates sets of one")
	}
	config = withValue(withValue(config, "version", int32(1)), "settings", bson.D{{Key: "replicaSetId", Value: bson.NewObjectID()}})
	m.set.synced = true
	return nil, m.install(config)
}

// reconfigure changes the configuration, one voter at a time, when a majority has the one before and has what was written in it. With force all of that
// does not count.
func reconfigure(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	m, config, force := r.mongod, document(r.command, "replSetReconfig"), truth(r.command, "force")
	s := m.set
	if !force && s.state == statePrimary {
		if err := m.quorum(config); err != nil {
			return nil, err
		}
	}
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
	self, there := memberOf(config, m.self)
	if !there {
		return nil, refuse(nodeNotFound, "No host described in new configuration maps to this node")
	}
	if !force && !electable(self) {
		return nil, refuse(nodeNotElectable, "This node is not electable under the new configuration")
	}
	config = withValue(config, "settings", document(s.config, "settings"))
	if force {
		config = withValue(config, "version", max(integer(s.config, "version"), integer(config, "version"))+10000+int64(rand.IntN(90000)))
		config = withValue(config, "term", int64(-1))
		return nil, m.install(config)
	}
	if differ := differentVoters(s.config, config); differ > 1 {
		return nil, refuse(newConfigMismatch, "Non force replica set reconfig can only add or remove at most 1 voting member.")
	}
	if !m.configCommitted() || s.committed.Term != s.term {
		return nil, refuse(configNotCommitted, "Cannot run replSetReconfig because the current config is not majority committed")
	}
	config = withValue(withValue(config, "term", s.term), "members", m.marked(config))
	if err := m.install(config); err != nil {
		return nil, err
	}
	term, version := s.term, integer(config, "version")
	m.await(waitLimit, func() bool {
		return s.state != statePrimary || s.term != term || integer(s.config, "version") != version || m.configCommitted()
	})
	if s.state != statePrimary || s.term != term {
		return nil, refuse(primarySteppedDown, "primary stepped down while waiting for the config to be committed")
	}
	return nil, nil
}

// marked are the members of a new configuration, with those that are new among the voters marked, and those that still are.
func (m *mongod) marked(config bson.D) bson.A {
	members := bson.A{}
	for _, member := range documents(config, "members") {
		old, there := memberOf(m.set.config, text(member, "host"))
		member = unset(member, newlyAdded)
		if asked(member) && (!there || truth(old, newlyAdded)) {
			member = withValue(member, newlyAdded, true)
		}
		members = append(members, member)
	}
	return members
}

// admitNew has a member vote that was new and has the data now, by a configuration that the primary makes itself.
func (m *mongod) admitNew() error {
	s := m.set
	if s.state != statePrimary || !m.configCommitted() || s.committed.Term != s.term {
		return nil
	}
	members, admitted := bson.A{}, false
	for _, member := range documents(s.config, "members") {
		if p := s.peers[text(member, "host")]; truth(member, newlyAdded) && !admitted && p != nil && p.err == nil && p.state == stateSecondary {
			member, admitted = unset(member, newlyAdded), true
		}
		members = append(members, member)
	}
	if !admitted {
		return nil
	}
	return m.install(withValue(withValue(s.config, "members", members), "version", integer(s.config, "version")+1))
}

func differentVoters(a, b bson.D) (n int) {
	hosts := func(config bson.D) (all []string) {
		for _, member := range documents(config, "members") {
			if asked(member) {
				all = append(all, text(member, "host"))
			}
		}
		return all
	}
	before, after := hosts(a), hosts(b)
	for _, host := range slices.Concat(before, after) {
		if slices.Contains(before, host) != slices.Contains(after, host) {
			n++
		}
	}
	return n
}

// configCommitted reports whether a majority has the configuration of the primary.
func (m *mongod) configCommitted() bool {
	s, n := m.set, 0
	voters := votersOf(s.config)
	for _, host := range voters {
		p := s.peers[host]
		if host == m.self || p != nil && p.version == integer(s.config, "version") && p.cterm == integer(s.config, "term") {
			n++
		}
	}
	return n >= majority(voters)
}

// quorum asks the members of a new configuration whether they are there: a majority of those that are to vote must be. It gives the lock away.
func (m *mongod) quorum(config bson.D) error {
	var voters, there []string
	for _, member := range documents(config, "members") {
		if asked(member) {
			voters = append(voters, text(member, "host"))
		}
	}
	m.mu.Unlock()
	answers := make(chan string, len(voters))
	for _, host := range voters {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), beatTimeout)
			defer cancel()
			if host != m.self {
				c, err := m.meet(ctx, host)
				if err != nil {
					host = ""
				} else {
					_ = c.Close()
				}
			}
			answers <- host
		}()
	}
	for range voters {
		if host := <-answers; host != "" {
			there = append(there, host)
		}
	}
	m.mu.Lock()
	if len(there) < majority(voters) {
		return refuse(nodeNotFound, fmt.Sprintf("Quorum check failed because not enough voting nodes responded; required %d but only the following %d voting nodes responded: %v",
			majority(voters), len(there), there))
	}
	return nil
}

// getConfig tells the configuration, without what the documents call newlyAdded, which members do not show.
func getConfig(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	if r.mongod.set.config == nil {
		return nil, refuse(notYetInitialized, "no replset config has been received")
	}
	members := bson.A{}
	for _, member := range documents(r.mongod.set.config, "members") {
		members = append(members, unset(member, newlyAdded))
	}
	reply := bson.D{{Key: "config", Value: withValue(r.mongod.set.config, "members", members)}}
	if truth(r.command, "commitmentStatus") {
		if r.mongod.set.state != statePrimary {
			return nil, refuse(notWritablePrimary, "replSetGetConfig with commitmentStatus can only be run on a primary")
		}
		reply = append(reply, bson.E{Key: "commitmentStatus", Value: r.mongod.configCommitted() && r.mongod.set.committed.Term == r.mongod.set.term})
	}
	return reply, nil
}

// waitLimit is how long a command waits for what may never be.
const waitLimit = 30 * time.Second
