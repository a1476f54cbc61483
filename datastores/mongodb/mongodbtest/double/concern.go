package double

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// endless is how long a write waits that was given no wtimeout.
const endless = 10 * time.Minute

// replicated waits until as many members have a write as its concern wants: a majority, when it has none. What is not had in time is an error
// beside the reply, for the write was made.
func (r *request) replicated(reply bson.D) (bson.D, error) {
	m, s := r.mongod, r.mongod.set
	concern := document(r.command, "writeConcern")
	w, given := get(concern, "w")
	n, counted := number(w)
	if counted && int(n) > len(documents(s.config, "members")) {
		return beside(reply, unsatisfiable, "Not enough data-bearing nodes"), nil
	}
	if given && !counted && w != "majority" {
		return nil, refuse(kind{79, "UnknownReplWriteConcern"}, fmt.Sprintf("No write concern mode named %v found in replica set configuration", w))
	}
	at, term, limit := m.store.last.moment(), s.term, endless
	if ms := integer(concern, "wtimeout"); ms > 0 {
		limit = time.Duration(ms) * time.Millisecond
	}
	there := func() bool {
		if !counted {
			return s.committed.compare(at) >= 0
		}
		have := 1
		for _, p := range s.peers {
			if p.reached.compare(at) >= 0 {
				have++
			}
		}
		return have >= int(n)
	}
	m.await(limit, func() bool { return there() || s.state != statePrimary || s.term != term })
	switch {
	case s.state != statePrimary || s.term != term: // what is committed now may be another's
		return beside(reply, primarySteppedDown, "Primary stepped down while waiting for replication"), nil
	case !there():
		return beside(reply, writeConcernFailed, "waiting for replication timed out"), nil
	}
	return reply, nil
}

func beside(reply bson.D, k kind, message string) bson.D {
	return append(reply, bson.E{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: k.code}, {Key: "codeName", Value: k.name}, {Key: "errmsg", Value: message}}})
}

// readConcern waits until this member has what a read wants it to have. A read of what a majority has waits until all that is here is.
func (r *request) readConcern() error {
	m, s := r.mongod, r.mongod.set
	concern := document(r.command, "readConcern")
	if s == nil || concern == nil {
		return nil
	}
	level := text(concern, "level")
	if level != "" && level != "local" && level != "available" && level != "majority" {
		return refuse(badValue, "the double knows no read concern "+level)
	}
	v, _ := get(concern, "afterClusterTime")
	after, _ := v.(bson.Timestamp)
	limit := waitLimit
	if ms := integer(r.command, "maxTimeMS"); ms > 0 {
		limit = time.Duration(ms) * time.Millisecond
	}
	there := m.await(limit, func() bool {
		last := m.store.last.moment()
		return last.TS.Compare(after) >= 0 && (level != "majority" || s.committed.compare(last) >= 0)
	})
	if !there {
		return refuse(maxTimeExpired, "operation exceeded time limit")
	}
	return nil
}
