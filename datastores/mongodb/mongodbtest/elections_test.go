package mongodbtest_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/mongodb/mongodbtest"
)

// replicaSet is some doubles of one set.
type replicaSet struct {
	t       *testing.T
	program string
	members []*double
}

// newSet founds a set of one and adds others to it, one after the other.
func newSet(t *testing.T, size int) *replicaSet {
	s := &replicaSet{t: t, program: mongodbtest.Build(t).Mongod("8.0")}
	for i := range size {
		d := place(t, nil)
		d.start(t, s.program)
		s.members = append(s.members, d)
		if i == 0 {
			d.initiated(t)
			continue
		}
		must(t, s.reconfigure(s.members...))
		until.True(t, time.Minute, "all know that the member votes", func() bool {
			return !slices.ContainsFunc(s.members, func(d *double) bool { return s.status(d)["votingMembersCount"] != int32(i+1) })
		})
	}
	return s
}

// config is the next configuration, with these members.
func (s *replicaSet) config(of ...*double) bson.D {
	s.t.Helper()
	var reply struct {
		Config struct {
			Version int64 `bson:"version"`
		} `bson:"config"`
	}
	must(s.t, s.system(s.primary()).Database("admin").RunCommand(s.t.Context(), bson.D{{Key: "replSetGetConfig", Value: 1}}).Decode(&reply))
	var members bson.A
	for _, d := range of {
		for id, other := range s.members {
			if d == other {
				members = append(members, bson.D{{Key: "_id", Value: id}, {Key: "host", Value: d.address}})
			}
		}
	}
	return bson.D{{Key: "_id", Value: "s"}, {Key: "version", Value: reply.Config.Version + 1}, {Key: "members", Value: members}}
}

// reconfigure has the set consist of these. It is tried again while the configuration before is not committed.
func (s *replicaSet) reconfigure(of ...*double) (err error) {
	s.t.Helper()
	until.Holds(time.Minute, func() bool {
		err = run(s.t, s.system(s.primary()), "admin", bson.D{{Key: "replSetReconfig", Value: s.config(of...)}})
		var refused mongo.ServerError
		return !errors.As(err, &refused) || !refused.HasErrorCode(308)
	})
	return err
}

func (s *replicaSet) system(d *double) *mongo.Client {
	return d.client(s.t, "__system", "secretsecret")
}

func (s *replicaSet) status(d *double) (st bson.M) {
	s.t.Helper()
	if err := s.system(d).Database("admin").RunCommand(s.t.Context(), bson.D{{Key: "replSetGetStatus", Value: 1}}).Decode(&st); err != nil {
		return nil
	}
	return st
}

// primary is the member that says so.
func (s *replicaSet) primary(not ...*double) (found *double) {
	s.t.Helper()
	until.True(s.t, time.Minute, "somebody is the primary", func() bool {
		for _, d := range s.members {
			var is struct {
				Primary bool `bson:"isWritablePrimary"`
			}
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
			err := s.system(d).Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&is)
			cancel()
			if err == nil && is.Primary && (len(not) == 0 || d != not[0]) {
				found = d
				return true
			}
		}
		return false
	})
	return found
}

func (s *replicaSet) others(than *double) (all []*double) {
	for _, d := range s.members {
		if d != than {
			all = append(all, d)
		}
	}
	return all
}

// put writes a document, to be acknowledged as w says.
func (s *replicaSet) put(at *double, id int, w any) error {
	concern := &writeconcern.WriteConcern{W: w}
	c := s.system(at).Database("shop").Collection("c", options.Collection().SetWriteConcern(concern))
	_, err := c.InsertOne(s.t.Context(), bson.D{{Key: "_id", Value: id}})
	return err
}

func (s *replicaSet) has(at *double, id int) bool {
	c := s.system(at).Database("shop").Collection("c", options.Collection().SetReadPreference(readpref.SecondaryPreferred()))
	return c.FindOne(s.t.Context(), bson.D{{Key: "_id", Value: id}}).Err() == nil
}

// TestElections: a set elects a primary as long as it has a majority, and what a majority had is there afterwards.
func TestElections(t *testing.T) {
	t.Parallel()
	s := newSet(t, 3)
	first := s.primary()
	must(t, s.put(first, 1, "majority"))
	first.kill()
	second := s.primary(first)
	must(t, s.put(second, 2, "majority"))
	last := s.others(second)[0]
	if last == first {
		last = s.others(second)[1]
	}
	if !s.has(second, 1) {
		t.Error("the second primary lacks what a majority had")
	}
	second.kill()
	until.True(t, time.Minute, "one of three is no primary", func() bool { return s.status(last)["myState"] == int32(2) })
	wantCode(t, "a write at a secondary", s.put(last, 3, 1), 10107)
	first.start(t, s.program)
	third := s.primary()
	for _, d := range []*double{third, first} {
		until.True(t, time.Minute, "it has both", func() bool { return s.has(d, 1) && s.has(d, 2) })
	}
}

// TestRollback: what one member alone had is taken back when it follows another again.
func TestRollback(t *testing.T) {
	t.Parallel()
	s := newSet(t, 3)
	first := s.primary()
	must(t, s.put(first, 1, "majority"))
	for _, d := range s.others(first) {
		d.kill()
	}
	must(t, s.put(first, 2, 1)) // it is the primary for a moment yet
	until.True(t, time.Minute, "the write is in the journal", func() bool {
		m, _ := s.status(first)["optimes"].(bson.D)
		var applied, durable any
		for _, e := range m {
			switch e.Key {
			case "appliedOpTime":
				applied = e.Value
			case "durableOpTime":
				durable = e.Value
			}
		}
		a, _ := bson.MarshalExtJSON(bson.D{{Key: "at", Value: applied}}, true, false)
		b, _ := bson.MarshalExtJSON(bson.D{{Key: "at", Value: durable}}, true, false)
		return len(a) > 0 && string(a) == string(b)
	})
	first.kill()
	for _, d := range s.others(first) {
		d.start(t, s.program)
	}
	second := s.primary(first)
	must(t, s.put(second, 3, "majority"))
	first.start(t, s.program)
	until.True(t, time.Minute, "the former primary has what was written meanwhile", func() bool { return s.has(first, 3) })
	if s.has(first, 2) || !s.has(first, 1) {
		t.Error("the former primary kept what nobody else has, or lost what others have")
	}
	first.kill()
	first.start(t, s.program)
	until.True(t, time.Minute, "it is still so after a restart", func() bool { return s.has(first, 3) && !s.has(first, 2) && s.has(first, 1) })
}

// TestChangesOfASet: what the documents do not let one do to a set in one go.
func TestChangesOfASet(t *testing.T) {
	t.Parallel()
	s := newSet(t, 3)
	first := s.primary()
	wantCode(t, "two voters fewer at once", s.reconfigure(first), 103)
	wantCode(t, "a set without its primary", s.reconfigure(s.others(first)...), 74)
	wantCode(t, "a reconfiguration at a secondary", run(t, s.system(s.others(first)[0]), "admin", bson.D{{Key: "replSetReconfig", Value: s.config(s.members...)}}), 10107)
	wantCode(t, "more members than there are", s.put(first, 1, 4), 100)
	must(t, s.put(first, 2, 3))
	if !s.has(s.others(first)[0], 2) {
		t.Error("a member that acknowledged a write does not have it")
	}
	must(t, run(t, s.system(first), "admin", bson.D{{Key: "replSetStepDown", Value: 60}, {Key: "secondaryCatchUpPeriodSecs", Value: 10}}))
	second := s.primary(first)
	must(t, s.put(second, 3, "majority"))

	gone := s.others(first)[0]
	if gone == second {
		gone = s.others(first)[1]
	}
	must(t, s.reconfigure(first, second))
	until.True(t, time.Minute, "who was taken out knows", func() bool {
		var refused mongo.ServerError
		return errors.As(run(t, s.system(gone), "admin", bson.D{{Key: "replSetGetStatus", Value: 1}}), &refused) && refused.HasErrorCode(93)
	})
	must(t, first.cmd.Process.Signal(syscall.SIGSTOP))
	must(t, s.put(second, 5, 1))
	wantCode(t, "a step down for nobody", run(t, s.system(second), "admin", bson.D{{Key: "replSetStepDown", Value: 60}, {Key: "secondaryCatchUpPeriodSecs", Value: 0}}), 262)
	first.kill()
	until.True(t, time.Minute, "one of two steps down", func() bool { return s.status(second)["myState"] == int32(2) })
	forced := s.status(second)
	if forced["votingMembersCount"] != int32(2) {
		t.Errorf("of two members %v vote", forced["votingMembersCount"])
	}
	one := bson.D{{Key: "_id", Value: "s"}, {Key: "version", Value: 1}, {Key: "members", Value: bson.A{bson.D{{Key: "_id", Value: 1}, {Key: "host", Value: second.address}}}}}
	must(t, run(t, s.system(second), "admin", bson.D{{Key: "replSetReconfig", Value: one}, {Key: "force", Value: true}}))
	must(t, s.put(s.primary(first), 4, "majority"))
}
