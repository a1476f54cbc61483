package double

import (
	"encoding/binary"
	"net"
	"strings"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

const (
	opReply = 1
	opQuery = 2004
)

var messages atomic.Int32

// talk answers one connection's commands. It returns when the connection has ended, with the reason.
func (m *mongod) talk(raw net.Conn) error {
	conn, err := m.secured(raw)
	if err != nil {
		return err
	}
	s := &session{}
	for {
		h, rest, err := opmsg.ReadMessage(conn)
		if err != nil {
			return err
		}
		if h.Op == opQuery {
			if err := m.greet(conn, h, rest); err != nil {
				return err
			}
			continue
		}
		command, silent, err := opmsg.ParseBody(h, rest)
		if err != nil {
			return err
		}
		reply := m.answer(s, command)
		if silent {
			continue
		}
		body, err := bson.Marshal(reply)
		if err != nil {
			return err
		}
		if err := opmsg.WriteBody(conn, messages.Add(1), h.ID, body); err != nil {
			return err
		}
	}
}

// greet answers the one command that drivers still send by OP_QUERY: isMaster.
func (m *mongod) greet(conn net.Conn, h opmsg.Header, rest []byte) error {
	_, after, ok := strings.Cut(string(rest[min(4, len(rest)):]), "\x00")
	if !ok || len(after) < 8 {
		return net.ErrClosed
	}
	var command bson.D
	if err := bson.Unmarshal([]byte(after[8:]), &command); err != nil {
		return err
	}
	reply := failed(refuse(kind{352, "UnsupportedOpQueryCommand"}, "Unsupported OP_QUERY command"))
	if name := strings.ToLower(command[0].Key); name == "ismaster" || name == "hello" {
		reply = m.answer(&session{}, append(command, bson.E{Key: "$db", Value: "admin"}))
	}
	body, err := bson.Marshal(reply)
	if err != nil {
		return err
	}
	head := make([]byte, 20) // flags, cursor, first, count
	head[0] = 8              // AwaitCapable
	binary.LittleEndian.PutUint32(head[16:], 1)
	return opmsg.WriteMessage(conn, opmsg.Header{ID: messages.Add(1), ResponseTo: h.ID, Op: opReply}, append(head, body...))
}

// request is one command of a session's.
type request struct {
	mongod     *mongod
	session    *session
	database   string
	name       string
	command    bson.D
	privileges []privilege
	wrote      bool
}

// answer runs a command, or refuses it. Commands run one after the other.
func (m *mongod) answer(s *session, body bson.D) bson.D {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &request{mongod: m, session: s, database: text(body, "$db"), name: body[0].Key, command: body, privileges: m.privilegesOf(s)}
	reply, err := r.run()
	if err == nil && r.wrote && r.durably() {
		err = m.flush()
	}
	if err == nil && r.wrote && m.set != nil {
		reply, err = r.replicated(reply)
	}
	if err != nil {
		if r.name != "saslStart" && r.name != "saslContinue" {
			m.log.Info("Command refused", "command", r.name, "err", err.Error())
		} else {
			m.log.Info("Authentication failed", "db", r.database)
		}
		return failed(err)
	}
	if m.set != nil {
		reply = append(reply, bson.E{Key: "operationTime", Value: m.store.last.TS})
	}
	return append(reply, bson.E{Key: "ok", Value: 1.0})
}

// durably reports whether the write must be in the journal before it is acknowledged.
func (r *request) durably() bool {
	concern := document(r.command, "writeConcern")
	if truth(concern, "j") || text(concern, "w") == "majority" {
		return true
	}
	_, given := get(concern, "w")
	return r.mongod.set != nil && !given // the default of a replica set is "majority"
}

func (r *request) run() (bson.D, error) {
	c, known := commands()[r.name]
	if !known {
		return nil, refuse(commandNotFound, "no such command: '"+r.name+"'")
	}
	if c.action != "" {
		target := ""
		if !c.cluster {
			target = r.target(c)
		}
		if !allows(r.privileges, c.action, target) {
			return nil, r.unauthorized()
		}
	} else if !c.open && len(r.session.logins) == 0 && r.mongod.config.text("security.authorization") == "enabled" {
		return nil, r.unauthorized()
	}
	if err := r.fit(c); err != nil {
		return nil, err
	}
	if err := r.readConcern(); err != nil {
		return nil, err
	}
	return c.run(r)
}

func (r *request) unauthorized() error {
	if len(r.session.logins) == 0 {
		return refuse(unauthorized, "Command "+r.name+" requires authentication")
	}
	return refuse(unauthorized, "not authorized on "+r.database+" to execute command "+r.name)
}

// target is the namespace that a command is about.
func (r *request) target(c command) string {
	name, _ := r.command[0].Value.(string)
	if c.wholeDatabase {
		return r.database + ".$cmd"
	}
	if r.name == "getMore" {
		name = text(r.command, "collection")
	}
	if r.name == "renameCollection" {
		return name
	}
	return r.database + "." + name
}

// fit refuses what this member cannot do now: a write when it is no primary or writes are blocked, a read when it has no data.
func (r *request) fit(c command) error {
	m := r.mongod
	namespace := r.target(c)
	if m.set == nil || c.anyMember || strings.HasPrefix(namespace, "local.") {
		return nil
	}
	if c.writes && m.set.state != statePrimary {
		return refuse(notWritablePrimary, "not primary")
	}
	if !c.writes && m.set.state != statePrimary {
		if m.set.state != stateSecondary {
			return refuse(notPrimaryOrSecond, "node is not in primary or recovering state")
		}
		mode := text(document(r.command, "$readPreference"), "mode")
		if mode == "" || mode == "primary" {
			return refuse(notPrimaryNoSecond, "not primary and secondaryOk=false")
		}
	}
	database, _, _ := strings.Cut(namespace, ".")
	if c.writes && database != "admin" && database != "config" && m.blocked() && !allows(r.privileges, "bypassWriteBlockingMode", "") {
		return refuse(userWritesBlocked, "User writes blocked")
	}
	return nil
}

const blockNamespace = "config.user_writes_critical_sections"

func (m *mongod) blocked() bool { return len(m.store.documents(blockNamespace)) > 0 }

// log makes a write last as the record says.
func (r *request) log(w record) error {
	r.wrote = true
	return r.mongod.record(w)
}

// record gives a write its time, or, of a standalone server, none.
func (m *mongod) record(w record) error {
	if m.set == nil {
		w.Kind = standaloneKind
	} else {
		w.TS, w.Term = m.store.next(), m.set.term
	}
	defer m.broadcast()
	return m.store.write(w)
}
