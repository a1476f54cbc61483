package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// circle is members of a cluster to which one of them has connections.
type circle struct {
	seats []*seat
	of    map[string]*seat // by id of the member
	lost  []string         // addresses of members that cannot be asked any more
}

// seat is a member, and a connection to it.
type seat struct {
	member datastores.ClusterMember
	id     string // by which the servers know it
	conn   *conn
	dial   func() (*conn, error) // another connection
	lanes  []*conn               // for much at once
	wait   time.Duration
	secret string // of clusterUser
	at     int    // its port for other members
}

// circle connects to members: to this guest's own by its socket, to others over the network, as their cluster's account.
func (m *Manager) circle(ctx context.Context, v datastores.ClusterView, ids ...string) (*circle, error) {
	t := &circle{of: map[string]*seat{}}
	for _, c := range v.Of(datastores.ClusterLost) {
		t.lost = append(t.lost, c.Address)
	}
	for _, id := range ids {
		s := &seat{member: v.Member(id), wait: callTimeout, secret: v.Secret.Reveal(), at: m.memberPort()}
		s.dial = func() (*conn, error) { return m.dialMember(ctx, s.member.Address, s.secret) }
		if id == v.Self {
			s.dial = func() (*conn, error) { return m.dialOwn(ctx) }
		}
		var err error
		if s.conn, err = s.dial(); err == nil {
			t.seats, t.of[id] = append(t.seats, s), s
			s.id, err = s.ask("CLUSTER", "MYID")
		}
		if err != nil {
			t.close()
			return nil, fmt.Errorf("member %s cannot be asked: %w", id, err)
		}
	}
	return t, nil
}

func (t *circle) close() {
	for _, s := range t.seats {
		_ = s.conn.Close()
		for _, lane := range s.lanes {
			_ = lane.Close()
		}
	}
}

// seat is that of a server; nil: it is no member's.
func (t *circle) seat(id string) *seat {
	if i := slices.IndexFunc(t.seats, func(s *seat) bool { return s.id == id }); i >= 0 {
		return t.seats[i]
	}
	return nil
}

// memberPort is where members come to each other.
func (m *Manager) memberPort() int {
	if m.env.ServerTLS().On() {
		return tlsPort
	}
	return port
}

// dialOwn is a connection to this guest's server that lasts.
func (m *Manager) dialOwn(ctx context.Context) (*conn, error) {
	password, err := m.adminPassword()
	if err != nil {
		return nil, err
	}
	c, err := m.dial(ctx)
	return logIn(c, err, adminUser, password)
}

// dialMember is one to another member's, by TLS where this one has it: all members of a cluster do or do not.
func (m *Manager) dialMember(ctx context.Context, address, secret string) (*conn, error) {
	var secure *tls.Config
	if t := m.env.ServerTLS(); t.On() {
		var err error
		if secure, err = t.ToServer(address); err != nil {
			return nil, err
		}
	}
	c, err := dialTCP(ctx, address, secure)
	return logIn(c, err, clusterUser, secret)
}

func logIn(c *conn, err error, user, password string) (*conn, error) {
	if err != nil {
		return nil, err
	}
	if _, err := c.call("AUTH", user, password); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("AUTH: %w", err)
	}
	return c, nil
}

func (s *seat) ask(args ...string) (string, error) {
	if err := s.conn.allow(s.wait); err != nil {
		return "", err
	}
	return s.conn.call(args...)
}

// askAll sends commands at once, and returns the reply to each.
func (s *seat) askAll(commands [][]string) ([]string, error) {
	if err := s.conn.allow(s.wait); err != nil {
		return nil, err
	}
	return s.conn.all(commands, "")
}

// lanes is by how many connections a member is told much at once.
const lanes = 16

// tellAll sends commands by several connections, and returns when all have been done. Valkey, before it does a CLUSTER SETSLOT, waits until its
// replicas have it, and does not read on from that connection: https://valkey.io/commands/cluster-setslot/. A refusal that has passes in it is none.
func (s *seat) tellAll(commands [][]string, passes string) error {
	for len(s.lanes) < lanes {
		lane, err := s.dial()
		if err != nil {
			return err
		}
		s.lanes = append(s.lanes, lane)
	}
	parts := make([][][]string, lanes)
	for i, command := range commands {
		parts[i%lanes] = append(parts[i%lanes], command)
	}
	failures := make([]error, lanes)
	var all sync.WaitGroup
	for i, lane := range s.lanes {
		all.Go(func() {
			if failures[i] = lane.allow(s.wait); failures[i] == nil {
				_, failures[i] = lane.all(parts[i], passes)
			}
		})
	}
	all.Wait()
	return cmp.Or(failures...)
}

func (s *seat) list(args ...string) ([]string, error) {
	if err := s.conn.allow(s.wait); err != nil {
		return nil, err
	}
	return s.conn.list(args...)
}

// nodes are the servers that a member knows.
func (s *seat) nodes() (nodes, error) {
	text, err := s.ask("CLUSTER", "NODES")
	if err != nil {
		return nil, fmt.Errorf("member %s: CLUSTER NODES: %w", s.member.ID, err)
	}
	return parseNodes(text)
}

// node is a server as another one sees it.
type node struct {
	id, address string
	flags       []string
	master      string // "": it is one
	link        string // connected or disconnected; of the server itself always connected
	slots       []int
	open        []openSlot // of the server itself: those on their way
}

// openSlot is a slot on its way, out to another server or in from one.
type openSlot struct {
	slot  int
	out   bool
	other string
}

func (n node) has(flag string) bool { return slices.Contains(n.flags, flag) }

type nodes []node

func (all nodes) find(id string) (node, bool) {
	for _, n := range all {
		if n.id == id {
			return n, true
		}
	}
	return node{}, false
}

// owners are who has each slot; "": nobody.
func (all nodes) owners() (of [slotCount]string) {
	for _, n := range all {
		for _, slot := range n.slots {
			of[slot] = n.id
		}
	}
	return of
}

// parseNodes reads the reply of CLUSTER NODES: a line a server.
func parseNodes(text string) (all nodes, err error) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 8 {
			return nil, fmt.Errorf("a line of %d words in the reply of CLUSTER NODES", len(words))
		}
		n := node{id: words[0], flags: strings.Split(words[2], ","), link: words[7]}
		n.address, _, _ = strings.Cut(words[1], "@")
		if words[3] != "-" {
			n.master = words[3]
		}
		for _, word := range words[8:] {
			if err := n.addSlots(word); err != nil {
				return nil, err
			}
		}
		all = append(all, n)
	}
	return all, nil
}

// addSlots reads 7, 0-5460, [7->-id] or [7-<-id].
func (n *node) addSlots(word string) error {
	if inner, ok := strings.CutPrefix(word, "["); ok {
		inner = strings.TrimSuffix(inner, "]")
		number, other, out := strings.Cut(inner, "->-")
		if !out {
			number, other, _ = strings.Cut(inner, "-<-")
		}
		slot, err := strconv.Atoi(number)
		if err != nil || slot < 0 || slot >= slotCount || other == "" {
			return fmt.Errorf("a slot on its way in the reply of CLUSTER NODES: %.40q", word)
		}
		n.open = append(n.open, openSlot{slot, out, other})
		return nil
	}
	first, last, isRange := strings.Cut(word, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if err1 != nil || err2 != nil || from < 0 || to >= slotCount || from > to {
		return fmt.Errorf("slots in the reply of CLUSTER NODES: %.40q", word)
	}
	for slot := from; slot <= to; slot++ {
		n.slots = append(n.slots, slot)
	}
	return nil
}
