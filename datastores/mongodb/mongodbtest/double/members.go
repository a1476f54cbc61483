package double

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

const (
	beatEvery   = 100 * time.Millisecond // 2 s by the documents
	followEvery = 20 * time.Millisecond
	peerTimeout = 5 * time.Second

	electionTimeout = time.Second // 10 s by the documents
)

// heartbeat answers another member: with the configuration, when that is newer than the other's.
func heartbeat(r *request) (bson.D, error) {
	if err := r.inSet(); err != nil {
		return nil, err
	}
	m, s := r.mongod, r.mongod.set
	if text(r.command, "replSetHeartbeat") != s.name {
		return nil, refuse(kind{60, "InconsistentReplicaSetNames"}, "Our set name of "+s.name+" does not match the one in the request")
	}
	if newer(r.command, s.config) {
		s.meet = text(r.command, "from")
	}
	if err := m.seeTerm(integer(r.command, "term")); err != nil {
		return nil, err
	}
	reply := bson.D{
		{Key: "set", Value: s.name}, {Key: "term", Value: s.term}, {Key: "state", Value: int32(s.state)},
		{Key: "last", Value: opTime(m.store.last.TS, m.store.last.Term)},
	}
	if s.config != nil && newer(s.config, r.command) {
		reply = append(reply, bson.E{Key: "config", Value: s.config})
	}
	return reply, nil
}

// newer reports whether a configuration, by its term and version, is newer than another. Terms of configurations that were forced do not count.
func newer(a, b bson.D) bool {
	if b == nil {
		return true
	}
	termA, termB := integer(a, "term"), integer(b, "term")
	if _, asks := get(a, "replSetHeartbeat"); asks {
		termA = integer(a, "configTerm")
	}
	if _, asks := get(b, "replSetHeartbeat"); asks {
		termB = integer(b, "configTerm")
	}
	if termA != termB && termA != -1 && termB != -1 {
		return termA > termB
	}
	return integer(a, "version") > integer(b, "version")
}

// seeTerm follows a term that is ahead. A primary steps down, and elects itself anew when it hears of no other for a while.
func (m *mongod) seeTerm(term int64) error {
	if term <= m.set.term {
		return nil
	}
	if m.set.state == statePrimary {
		m.set.state, m.set.stepped = stateSecondary, time.Now()
	}
	m.set.term = term
	return m.remember()
}

// reelect ends the wait of a member that has stepped down.
func (m *mongod) reelect() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.set
	if s.state != stateSecondary || s.stepped.IsZero() || time.Since(s.stepped) < electionTimeout || voter(s.config) != m.self {
		return nil
	}
	s.stepped = time.Time{}
	return m.elect(s.term + 1)
}

// beat asks the others how they are, and takes over newer configurations.
func (m *mongod) beat(ctx context.Context) {
	clients := map[string]*opmsg.Client{}
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	for wait(ctx, beatEvery) {
		if err := m.reelect(); err != nil {
			m.log.Error("Cannot become the primary", "err", err)
		}
		for _, host := range m.others() {
			if err := m.beatOne(ctx, clients, host); err != nil {
				m.mu.Lock()
				m.set.peers[host] = &peer{err: err}
				m.mu.Unlock()
				if c := clients[host]; c != nil {
					_ = c.Close()
					delete(clients, host)
				}
			}
		}
	}
}

func (m *mongod) others() (hosts []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, member := range documents(m.set.config, "members") {
		if host := text(member, "host"); host != m.self && m.set.state != stateRemoved {
			hosts = append(hosts, host)
		}
	}
	if m.set.meet != "" {
		hosts = append(hosts, m.set.meet)
		m.set.meet = ""
	}
	return hosts
}

func (m *mongod) beatOne(ctx context.Context, clients map[string]*opmsg.Client, host string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	if clients[host] == nil {
		if clients[host], err = m.meet(ctx, host); err != nil {
			delete(clients, host)
			return err
		}
	}
	m.mu.Lock()
	term := int64(-1)
	if m.set.config != nil {
		term = integer(m.set.config, "term")
	}
	question := bson.D{
		{Key: "replSetHeartbeat", Value: m.set.name}, {Key: "version", Value: integer(m.set.config, "version")}, {Key: "configTerm", Value: term},
		{Key: "term", Value: m.set.term}, {Key: "from", Value: m.self},
	}
	m.mu.Unlock()
	raw, err := clients[host].Call(ctx, "admin", question)
	if err != nil {
		return err
	}
	var reply bson.D
	if err := bson.Unmarshal(raw, &reply); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set.peers[host] = &peer{state: int(integer(reply, "state")), last: document(reply, "last"), at: time.Now()}
	config := document(reply, "config")
	if config == nil || m.set.config != nil && !newer(config, m.set.config) {
		return m.seeTerm(integer(reply, "term"))
	}
	if id, own := document(config, "settings"), document(m.set.config, "settings"); own != nil && fmt.Sprint(id) != fmt.Sprint(own) {
		return errors.New("replica set IDs do not match")
	}
	m.set.term = max(m.set.term, integer(reply, "term"))
	return m.install(config)
}

// meet connects to another member, as members do with the key.
func (m *mongod) meet(ctx context.Context, host string) (*opmsg.Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	config, err := m.outgoing(host)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c, err := opmsg.New(ctx, conn, config)
	if err != nil {
		return nil, err
	}
	if err := c.Login(ctx, "local", keyUser, m.key); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// outgoing is how a member connects to others: by TLS when the mode is preferTLS or requireTLS.
func (m *mongod) outgoing(host string) (*tls.Config, error) {
	if mode := m.config.text("net.tls.mode"); mode != "preferTLS" && mode != "requireTLS" {
		return nil, nil
	}
	b, err := os.ReadFile(m.config.text("net.tls.CAFile"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	address, _, err := net.SplitHostPort(host)
	return &tls.Config{RootCAs: pool, ServerName: address}, err
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// follow has a secondary copy the primary, first everything and then what is new.
func (m *mongod) follow(ctx context.Context) {
	var client *opmsg.Client
	var at string
	defer func() {
		if client != nil {
			_ = client.Close()
		}
	}()
	for wait(ctx, followEvery) {
		m.mu.Lock()
		source, synced, last := m.syncSource(), m.set.synced, m.store.last
		m.mu.Unlock()
		if client != nil && source != at {
			_ = client.Close()
			client = nil
		}
		if source == "" {
			continue
		}
		err := m.step(ctx, &client, source, synced, last)
		at = source
		if err != nil && client != nil {
			m.log.Warn("Cannot follow the primary", "err", err)
			_ = client.Close()
			client = nil
		}
	}
}

func (m *mongod) step(ctx context.Context, client **opmsg.Client, source string, synced bool, last record) (err error) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	if *client == nil {
		if *client, err = m.meet(ctx, source); err != nil {
			*client = nil
			return err
		}
	}
	question := bson.D{{Key: "replSetDoubleCopy", Value: 1}}
	if synced {
		question = bson.D{{Key: "replSetDoubleTail", Value: 1}, {Key: "after", Value: opTime(last.TS, last.Term)}}
	}
	raw, err := (*client).Call(ctx, "admin", question)
	if err != nil {
		return err
	}
	var reply struct {
		Records []record `bson:"records"`
		Behind  string   `bson:"behind"`
	}
	if err := bson.Unmarshal(raw, &reply); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.syncSource() != source || m.set.synced != synced || m.store.last.TS != last.TS {
		return nil // something else has happened meanwhile
	}
	if reply.Behind != "" {
		m.set.state, m.set.why = stateRecovering, reply.Behind
		return nil
	}
	for _, r := range reply.Records {
		if err := m.store.write(r); err != nil {
			return err
		}
	}
	if !synced {
		m.set.synced, m.set.state = true, stateSecondary
		if err := m.remember(); err != nil {
			return err
		}
	}
	return m.store.flush()
}

// tail answers with the writes after one, or says that the history of this member has no such write: there is no rollback here.
func tail(r *request) (bson.D, error) {
	after := document(r.command, "after")
	v, _ := get(after, "ts")
	ts, _ := v.(bson.Timestamp)
	log := r.mongod.store.oplog
	i := len(log)
	for i > 0 && log[i-1].TS.Compare(ts) > 0 {
		i--
	}
	if i == 0 || log[i-1].TS != ts || log[i-1].Term != integer(after, "t") {
		return bson.D{{Key: "behind", Value: "the newest write is in no history of the primary: the double knows no rollback"}}, nil
	}
	return bson.D{{Key: "records", Value: log[i:min(len(log), i+1000)]}}, nil
}

// copyAll answers with all data, and the newest write.
func copyAll(r *request) (bson.D, error) {
	records := []record{{Kind: clearedKind}}
	s := r.mongod.store
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
