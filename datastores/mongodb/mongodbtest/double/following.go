package double

import (
	"context"
	"os"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

const (
	followEvery = 20 * time.Millisecond
	tailWaits   = 300 * time.Millisecond // for something new
	stepTimeout = 3 * time.Second
	mostTold    = 10000 // of a history that diverges
)

// follow has a secondary copy the primary, first everything and then what is new.
func (m *mongod) follow(ctx context.Context) {
	f := follower{mongod: m}
	defer f.close()
	for wait(ctx, f.pause) {
		m.mu.Lock()
		source := m.syncSource()
		m.mu.Unlock()
		f.pause = followEvery
		if source != f.source {
			f.close()
			f.source = source
		}
		if source == "" {
			continue
		}
		if err := f.step(ctx); err != nil {
			m.log.Warn("Cannot follow the primary", "err", err)
			f.close()
		}
	}
}

// follower is a secondary's way to its primary.
type follower struct {
	*mongod
	client   *opmsg.Client
	source   string
	diverges bool          // the newest write here is none of the source's
	pause    time.Duration // before the next step
}

func (f *follower) close() {
	if f.client != nil {
		_ = f.client.Close()
	}
	f.client, f.diverges = nil, false
}

// step asks the source once. What it asks for tells the source how far this member has come: all before is on the disk.
func (f *follower) step(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if f.client == nil {
		if f.client, err = f.meet(ctx, f.source); err != nil {
			return err
		}
	}
	f.mu.Lock()
	synced, last, known := f.set.synced, f.store.last.moment(), f.set.committed
	question := bson.D{{Key: "replSetDoubleCopy", Value: 1}}
	if synced {
		question = bson.D{{Key: "replSetDoubleTail", Value: 1}, {Key: "after", Value: last.document()}, {Key: "from", Value: f.self}, {Key: "committed", Value: known.document()}}
		if f.diverges {
			question = append(question, bson.E{Key: "history", Value: f.store.history()})
		}
	}
	f.mu.Unlock()
	raw, err := f.client.Call(ctx, "admin", question)
	if err != nil {
		return err
	}
	var reply answer
	if err := bson.Unmarshal(raw, &reply); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.syncSource() != f.source || f.set.synced != synced || f.store.last.moment() != last {
		return nil // something else has happened meanwhile
	}
	if f.pause = 0; reply.Diverges {
		return f.rollBack(reply.Common)
	}
	return f.take(reply, synced)
}

// answer is what a source tells who follows it.
type answer struct {
	Records   []record `bson:"records"`
	Committed moment   `bson:"committed"`
	Diverges  bool     `bson:"diverges"`
	Common    *moment  `bson:"common"` // nil, of a history that diverges: it was not told
}

func (f *follower) take(reply answer, synced bool) error {
	for _, r := range reply.Records {
		if err := f.store.write(r); err != nil {
			return err
		}
	}
	if err := f.mongod.flush(); err != nil {
		return err
	}
	if err := f.checkVersion(); err != nil { // as a mongod ends whose source has gone on to a format that it does not know
		f.log.Error("Fatal assertion", "err", err)
		os.Exit(14)
	}
	if !synced {
		f.set.synced, f.set.state = true, stateSecondary
		if err := f.remember(); err != nil {
			return err
		}
	}
	if reply.Committed.compare(f.set.committed) > 0 {
		f.set.committed = reply.Committed
	}
	f.broadcast()
	return nil
}

// rollBack takes back what the source does not have. What a majority has is never among it, but after a forced reconfiguration: then the member
// does not go on.
func (f *follower) rollBack(common *moment) error {
	if common == nil {
		f.diverges = true
		return nil
	}
	f.diverges = false
	if *common == (moment{}) || common.compare(f.set.committed) < 0 {
		f.set.state, f.set.why = stateRecovering, "the newest write is in no history of the primary, and what is to be rolled back was acknowledged"
		f.log.Error("Cannot roll back", "to", common, "committed", f.set.committed)
		return nil
	}
	f.log.Info("Rolling back", "to", common, "from", f.store.last.moment())
	if err := f.store.write(record{Kind: rolledKind, TS: common.TS, Term: common.Term}); err != nil {
		return err
	}
	return f.mongod.flush()
}

// history is the times of the newest writes, the newest first.
func (s *store) history() (all bson.A) {
	for i := len(s.oplog) - 1; i >= 0 && len(all) < mostTold; i-- {
		all = append(all, s.oplog[i].moment().document())
	}
	return all
}

// has reports where a write stands in the oplog.
func (s *store) has(at moment) (index int, there bool) {
	i := len(s.oplog)
	for i > 0 && s.oplog[i-1].TS.Compare(at.TS) > 0 {
		i--
	}
	return i, i > 0 && s.oplog[i-1].moment() == at
}

// tail answers with the writes after one, and waits a moment for some. A history that has no such write diverges.
func tail(r *request) (bson.D, error) {
	m, s := r.mongod, r.mongod.set
	after, known := momentOf(document(r.command, "after")), momentOf(document(r.command, "committed"))
	if _, there := m.store.has(after); !there {
		reply := bson.D{{Key: "diverges", Value: true}}
		if told := documents(r.command, "history"); told != nil {
			common := moment{}
			for _, d := range told {
				if _, there := m.store.has(momentOf(d)); there {
					common = momentOf(d)
					break
				}
			}
			reply = append(reply, bson.E{Key: "common", Value: common})
		}
		return reply, nil
	}
	if p := m.peer(text(r.command, "from")); s.state == statePrimary && after.compare(p.reached) > 0 {
		p.reached = after
		m.commit()
		m.broadcast()
	}
	m.await(tailWaits, func() bool { return m.store.last.moment() != after || s.committed.compare(known) > 0 })
	i, there := m.store.has(after)
	if !there {
		return bson.D{{Key: "diverges", Value: true}}, nil
	}
	return bson.D{{Key: "records", Value: m.store.oplog[i:min(len(m.store.oplog), i+1000)]}, {Key: "committed", Value: s.committed}}, nil
}

// copyAll answers with all data, and the newest write, when a majority has all of it.
func copyAll(r *request) (bson.D, error) {
	m, s := r.mongod, r.mongod.store
	if !m.await(tailWaits, func() bool { return m.set.committed.compare(s.last.moment()) >= 0 }) {
		return nil, refuse(commandFailed, "what there is may be rolled back yet")
	}
	records := []record{{Kind: clearedKind}}
	for ns, c := range s.all {
		database, name, _ := splitNamespace(ns)
		records = append(records, record{Kind: standaloneKind, Op: "c", NS: database + ".$cmd", Object: bson.D{{Key: "create", Value: name}}})
		for _, d := range s.documents(ns) {
			records = append(records, record{Kind: standaloneKind, Op: "i", NS: ns, Object: d})
		}
		if len(c.indexes) > 0 {
			records = append(records, record{Kind: standaloneKind, Op: "c", NS: database + ".$cmd", Object: bson.D{{Key: "createIndexes", Value: name}, {Key: "indexes", Value: c.indexes}}})
		}
	}
	return bson.D{{Key: "records", Value: append(records, record{Op: "n", TS: s.last.TS, Term: s.last.Term, Object: bson.D{{Key: "msg", Value: "copied"}}})}}, nil
}
