package mongodb

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
	"github.com/cofferdb/coffer/datastores/service"
)

// The states of members that mean something here.
const (
	statePrimary    = 1
	stateSecondary  = 2
	stateRecovering = 3
)

// host is how the server is named in a set.
func host(address string) string { return net.JoinHostPort(address, strconv.Itoa(port)) }

// member is a server in a set. Among a source and its replicas the source alone votes, and may be the primary: the gateway says who that is, and no election.
func member(id int, address string, voter bool) bson.D {
	votes := 0
	if voter {
		votes = 1
	}
	return bson.D{{Key: "_id", Value: id}, {Key: "host", Value: host(address)}, {Key: "priority", Value: votes}, {Key: "votes", Value: votes}}
}

// initiate makes the server a set of one.
func (m *Manager) initiate(ctx context.Context, c *opmsg.Client, id identity) error {
	config := bson.D{{Key: "_id", Value: id.Set}, {Key: "members", Value: bson.A{member(0, m.env.Address, true)}}}
	_, err := c.Call(ctx, adminDatabase, bson.D{{Key: "replSetInitiate", Value: config}})
	if opmsg.HasCode(err, alreadyInitialized) {
		return nil
	}
	return err
}

// opTime is a place in a set's history.
type opTime struct {
	TS   bson.Timestamp `bson:"ts"`
	Term int64          `bson:"t"`
}

func (t opTime) after(other opTime) bool {
	return cmp.Or(cmp.Compare(t.Term, other.Term), t.TS.Compare(other.TS)) > 0
}

func (t opTime) position() datastores.Position {
	return datastores.Position{ID: fmt.Sprintf("%d:%d:%d", t.Term, t.TS.T, t.TS.I), Count: uint64(t.TS.T)<<32 | uint64(t.TS.I)}
}

// status is what replSetGetStatus tells.
type status struct {
	Voting  int `bson:"votingMembersCount"`
	State   int `bson:"myState"`
	OpTimes struct {
		Applied opTime `bson:"appliedOpTime"`
		Durable opTime `bson:"durableOpTime"`
	} `bson:"optimes"`
	Members []memberStatus `bson:"members"`
}

type memberStatus struct {
	Name    string  `bson:"name"`
	Health  float64 `bson:"health"`
	State   int     `bson:"state"`
	Text    string  `bson:"stateStr"`
	OpTime  opTime  `bson:"optime"`
	Self    bool    `bson:"self"`
	Message string  `bson:"lastHeartbeatMessage"`
	Info    string  `bson:"infoMessage"`
}

func setStatus(ctx context.Context, c *opmsg.Client) (st status, err error) {
	reply, err := c.Call(ctx, adminDatabase, bson.D{{Key: "replSetGetStatus", Value: 1}})
	if err != nil {
		return st, err
	}
	return st, bson.Unmarshal(reply, &st)
}

func (st status) member(is func(memberStatus) bool) (memberStatus, bool) {
	i := slices.IndexFunc(st.Members, is)
	if i < 0 {
		return memberStatus{}, false
	}
	return st.Members[i], true
}

// setConfig is the configuration of a set, of which only the members matter here.
type setConfig struct {
	Version int64
	rest    bson.D
	Members []bson.D
}

func getConfig(ctx context.Context, c *opmsg.Client) (config setConfig, err error) {
	reply, err := c.Call(ctx, adminDatabase, bson.D{{Key: "replSetGetConfig", Value: 1}})
	if err != nil {
		return config, err
	}
	var answer struct {
		Config bson.D `bson:"config"`
	}
	var known struct {
		Config struct {
			Version int64    `bson:"version"`
			Members []bson.D `bson:"members"`
		} `bson:"config"`
	}
	if err := bson.Unmarshal(reply, &answer); err != nil {
		return config, err
	}
	if err := bson.Unmarshal(reply, &known); err != nil {
		return config, err
	}
	rest := slices.DeleteFunc(answer.Config, func(e bson.E) bool { return e.Key == "version" || e.Key == "members" })
	return setConfig{known.Config.Version, rest, known.Config.Members}, nil
}

// document is the next configuration.
func (s setConfig) document() bson.D {
	return append(slices.Clone(s.rest), bson.E{Key: "version", Value: s.Version + 1}, bson.E{Key: "members", Value: s.Members})
}

func (s setConfig) find(host string) int {
	return slices.IndexFunc(s.Members, func(d bson.D) bool { return value(d, "host") == host })
}

func value(d bson.D, name string) any {
	for _, e := range d {
		if e.Key == name {
			return e.Value
		}
	}
	return nil
}

// asInt is a number, of whatever kind a server tells it.
func asInt(v any) int {
	switch n := v.(type) {
	case int:
		return n
	case int32:
		return int(n)
	case int64:
		return int(n)
	case float64:
		return int(n)
	}
	return 0
}

// nextID is one that no member has.
func (s setConfig) nextID() int {
	next := 0
	for _, d := range s.Members {
		next = max(next, asInt(value(d, "_id"))+1)
	}
	return next
}

// reconfigure changes the members at the primary. Another who does so at the same time makes it begin anew.
func reconfigure(ctx context.Context, c *opmsg.Client, change func(*setConfig) (changed bool)) error {
	for {
		config, err := getConfig(ctx, c)
		if err != nil {
			return err
		}
		if !change(&config) {
			return nil
		}
		_, err = c.Call(ctx, adminDatabase, bson.D{{Key: "replSetReconfig", Value: config.document()}})
		if err == nil || !opmsg.HasCode(err, configIncompatible, configInProgress, configNotCommitted) {
			return err
		}
		if !service.Pause(ctx, pollEvery) {
			return ctx.Err()
		}
	}
}

// takeOut removes a member, when it is one.
func takeOut(ctx context.Context, c *opmsg.Client, address string) error {
	return reconfigure(ctx, c, func(config *setConfig) bool {
		i := config.find(host(address))
		if i < 0 {
			return false
		}
		config.Members = slices.Delete(config.Members, i, i+1)
		return true
	})
}
