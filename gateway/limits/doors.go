package limits

import (
	"net"
	"sync"
)

// AddressOf is the address of an address with a port.
func AddressOf(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return hostPort
	}
	return host
}

// doors counts open connections, of all and of each address, and closes those that are too many at once.
type doors struct {
	all, each int64 // at most; -1: no limit
	refused   func(limit string)

	mu   sync.Mutex
	open int64
	from map[string]int64
}

// Listener lets so many connections through as "connections" and "address_connections" permit, and closes the others at once. It
// must lie below TLS.
func (l *Limits) Listener(inner net.Listener) net.Listener { return &doorway{inner, &l.doors} }

type doorway struct {
	net.Listener
	doors *doors
}

func (d *doorway) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := AddressOf(conn.RemoteAddr().String())
		if limit := d.doors.enter(address); limit != "" {
			d.doors.refused(limit)
			_ = conn.Close()
			continue
		}
		return &guestConn{Conn: conn, leave: sync.OnceFunc(func() { d.doors.leave(address) })}, nil
	}
}

// enter counts a connection in, or names the limit that it would exceed.
func (d *doors) enter(address string) (limit string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.all >= 0 && d.open >= d.all:
		return "connections"
	case d.each >= 0 && d.from[address] >= d.each:
		return "address_connections"
	}
	if d.from == nil {
		d.from = map[string]int64{}
	}
	d.open++
	d.from[address]++
	return ""
}

func (d *doors) leave(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if d.from[address]--; d.from[address] == 0 {
		delete(d.from, address)
	}
}

// guestConn is a connection that was counted in.
type guestConn struct {
	net.Conn
	leave func()
}

func (c *guestConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// NetConn lets the parking of polls find the socket.
func (c *guestConn) NetConn() net.Conn { return c.Conn }
