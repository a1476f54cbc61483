package double

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

const (
	beatEvery   = 100 * time.Millisecond // 2 s by the documents
	beatTimeout = time.Second
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
		{Key: "set", Value: s.name}, {Key: "term", Value: s.term}, {Key: "state", Value: int32(s.state)}, {Key: "last", Value: m.store.last.moment().document()},
		{Key: "version", Value: integer(s.config, "version")}, {Key: "configTerm", Value: integer(s.config, "term")},
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

// beat asks the others how they are, and takes over newer configurations. Nobody waits for another that does not answer.
func (m *mongod) beat(ctx context.Context) {
	asking, clients := map[string]bool{}, map[string]*opmsg.Client{}
	var mu sync.Mutex
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	var all sync.WaitGroup
	defer all.Wait()
	for wait(ctx, beatEvery) {
		if err := m.watch(ctx, &all); err != nil {
			m.log.Error("Cannot go on in the replica set", "err", err)
		}
		for _, host := range m.others() {
			mu.Lock()
			c, busy := clients[host], asking[host]
			asking[host] = true
			mu.Unlock()
			if busy {
				continue
			}
			all.Go(func() {
				c, err := m.beatOne(ctx, c, host)
				if err != nil && c != nil {
					_ = c.Close()
					c = nil
				}
				mu.Lock()
				defer mu.Unlock()
				clients[host], asking[host] = c, false
				if c == nil {
					delete(clients, host)
				}
			})
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

// beatOne asks one member, by the client that there is or a new one, which it returns.
func (m *mongod) beatOne(ctx context.Context, c *opmsg.Client, host string) (_ *opmsg.Client, err error) {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.peer(host).err = err
		}
	}()
	if c == nil {
		if c, err = m.meet(ctx, host); err != nil {
			return nil, err
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
	raw, err := c.Call(ctx, "admin", question)
	if err != nil {
		return c, err
	}
	var reply bson.D
	if err := bson.Unmarshal(raw, &reply); err != nil {
		return c, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return c, m.answered(host, reply)
}

// peer is what is known of a member.
func (m *mongod) peer(host string) *peer {
	if m.set.peers[host] == nil {
		m.set.peers[host] = &peer{}
	}
	return m.set.peers[host]
}

// answered takes up what another member has answered.
func (m *mongod) answered(host string, reply bson.D) error {
	p := m.peer(host)
	p.err, p.at, p.state, p.term, p.last = nil, time.Now(), int(integer(reply, "state")), integer(reply, "term"), momentOf(document(reply, "last"))
	p.version, p.cterm = integer(reply, "version"), integer(reply, "configTerm")
	m.broadcast()
	config := document(reply, "config")
	if config == nil || m.set.config != nil && !newer(config, m.set.config) {
		return m.seeTerm(integer(reply, "term"))
	}
	if id, own := document(config, "settings"), document(m.set.config, "settings"); own != nil && fmt.Sprint(id) != fmt.Sprint(own) {
		return errors.New("replica set IDs do not match")
	}
	if err := m.seeTerm(integer(reply, "term")); err != nil {
		return err
	}
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
