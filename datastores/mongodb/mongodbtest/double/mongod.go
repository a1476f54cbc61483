package double

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// mongod is one server.
type mongod struct {
	config  config
	version string // 7.0 or 8.0
	self    string // address and port, as members are named
	log     *slog.Logger

	mu             sync.Mutex
	store          *store
	set            *set // nil: not started as a member of a replica set
	keyCredentials bson.D
	key            string
	certificate    *tls.Certificate
	connections    map[net.Conn]bool
	ended          bool
	started        time.Time
	changed        chan struct{} // closed when something has changed that a command may wait for
}

// serve runs a server until ctx ends.
func serve(ctx context.Context, path, version string, out io.Writer) (err error) {
	m := &mongod{version: version, log: slog.New(slog.NewJSONHandler(out, nil)), connections: map[net.Conn]bool{}, started: time.Now(), changed: make(chan struct{})}
	if m.config, err = readConfig(path); err != nil {
		return err
	}
	if err := m.readKey(); err != nil {
		return err
	}
	if m.store, err = openStore(m.config.text("storage.dbPath"), version); err != nil {
		return err
	}
	if err := m.checkVersion(); err != nil {
		return err
	}
	if err := m.readCertificate(); err != nil {
		return err
	}
	listeners, err := m.listen()
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var all sync.WaitGroup
	if name := m.config.text("replication.replSetName"); name != "" {
		if err := m.joinSet(name); err != nil {
			return err
		}
		all.Go(func() { m.beat(running) })
		all.Go(func() { m.follow(running) })
	}
	all.Go(func() { m.flushes(running) })
	for _, l := range listeners {
		all.Go(func() { m.accept(l) })
	}
	m.log.Info("Waiting for connections", "port", m.config.text("net.port"), "double", true)
	<-ctx.Done()
	m.resign()
	cancel()
	m.end(listeners)
	all.Wait()
	return m.store.flush()
}

func (m *mongod) end(listeners []net.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	m.broadcast()
	for _, l := range listeners {
		_ = l.Close()
	}
	for c := range m.connections {
		_ = c.Close()
	}
	m.log.Info("Now exiting")
}

// broadcast has every command that waits look again.
func (m *mongod) broadcast() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// await gives the lock away until something holds, and reports whether it does.
func (m *mongod) await(limit time.Duration, holds func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !holds() {
		if m.ended {
			return false
		}
		changed, late := m.changed, false
		m.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			late = true
		}
		m.mu.Lock()
		if late {
			return holds()
		}
	}
	return true
}

// checkVersion refuses data of a version that is neither this one nor the one before.
func (m *mongod) checkVersion() error {
	before := map[string]string{"7.0": "6.0", "8.0": "7.0"}[m.version]
	if has := m.store.version; has != m.version && has != before {
		return fmt.Errorf("UPGRADE PROBLEM: found an invalid featureCompatibilityVersion document: version %s; this is %s", has, m.version)
	}
	return nil
}

func (m *mongod) readKey() error {
	path := m.config.text("security.keyFile")
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("permissions on %s are too open", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m.key = strings.Join(strings.Fields(string(b)), "")
	if len(m.key) < 6 || len(m.key) > 1024 {
		return errors.New("BadValue: a key has 6 to 1024 characters of base64")
	}
	m.keyCredentials, err = credentials(keyUser, m.key)
	return err
}

func (m *mongod) readCertificate() error {
	if mode := m.config.text("net.tls.mode"); mode == "" || mode == "disabled" {
		return nil
	}
	file := m.config.text("net.tls.certificateKeyFile")
	c, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return fmt.Errorf("InvalidSSLConfiguration: %w", err)
	}
	m.certificate = &c
	return nil
}

// listen opens the port at each address, and the local socket. net.bindIp may hold paths of sockets.
func (m *mongod) listen() (all []net.Listener, err error) {
	port := m.config.text("net.port")
	for at := range strings.SplitSeq(m.config.text("net.bindIp"), ",") {
		if strings.Contains(at, "/") {
			l, err := listenAt(at, 0o700)
			if err != nil {
				return nil, err
			}
			all = append(all, l)
			continue
		}
		if m.self == "" {
			m.self = net.JoinHostPort(at, port)
		}
		l, err := net.Listen("tcp", net.JoinHostPort(at, port))
		if err != nil {
			return nil, fmt.Errorf("Failed to set up listener: SocketException: %w", err)
		}
		all = append(all, l)
	}
	if m.config.text("net.unixDomainSocket.enabled") == "false" {
		return all, nil
	}
	mode := m.config.number("net.unixDomainSocket.filePermissions", 0o700)
	l, err := listenAt(filepath.Join(m.config.text("net.unixDomainSocket.pathPrefix"), "mongodb-"+port+".sock"), os.FileMode(mode))
	return append(all, l), err
}

func listenAt(path string, mode os.FileMode) (net.Listener, error) {
	_ = os.Remove(path) // of a server that was killed
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, mode)
}

func (m *mongod) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if !m.admit(conn) {
			_ = conn.Close()
			continue
		}
		go func() {
			err := m.talk(conn)
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
				m.log.Warn("Connection ended", "err", err)
			}
			m.mu.Lock()
			delete(m.connections, conn)
			m.mu.Unlock()
			_ = conn.Close()
		}()
	}
}

// admit counts a connection, unless there are as many as may be.
func (m *mongod) admit(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended || len(m.connections) >= m.config.number("net.maxIncomingConnections", 65536) {
		return false
	}
	m.connections[conn] = true
	m.log.Info("Connection accepted", "connectionCount", len(m.connections))
	return true
}

// peeked is a connection of which the first bytes were read.
type peeked struct {
	net.Conn
	r io.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// secured speaks TLS with a client who begins so, and refuses who does not when the mode is requireTLS.
func (m *mongod) secured(conn net.Conn) (net.Conn, error) {
	var first [3]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return nil, err
	}
	plain := peeked{conn, io.MultiReader(bytes.NewReader(first[:]), conn)}
	mode := m.config.text("net.tls.mode")
	const handshake, version = 0x16, 0x03 // of a TLS record; as a message's length it would be one of 64 KB
	if first[0] != handshake || first[1] != version || first[2] > 4 {
		if mode == "requireTLS" {
			return nil, errors.New("SSLHandshakeFailed: the server is configured to only allow SSL connections")
		}
		return plain, nil
	}
	if mode == "" || mode == "disabled" {
		return nil, errors.New("SSL handshake received but server is started without SSL support")
	}
	return tls.Server(plain, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.certificate, nil
	}}), nil
}

// flushes writes what was acknowledged without j, ten times a second.
func (m *mongod) flushes(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.mu.Lock()
			if err := m.flush(); err != nil {
				m.log.Error("cannot write the journal", "err", err)
				os.Exit(14) // EXIT_ABRUPT, as a mongod that cannot write
			}
			m.mu.Unlock()
		}
	}
}
