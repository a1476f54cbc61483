package double

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Ports, as documented; the second one is that of Erlang's distribution.
const (
	restPort = "8091"
	peerPort = "21100"
)

// AddressFile names, in the double's working directory, the file with the address at which it listens.
const AddressFile = "double-address"

// Below the working directory, as below /opt/couchbase/var.
const (
	configDir = "lib/couchbase/config"
	dataDir   = "lib/couchbase/data"
	logDir    = "lib/couchbase/logs"
	stateFile = configDir + "/config.json"
)

// node is a running double.
type node struct {
	dir, address, version string
	log                   *slog.Logger
	started               time.Time

	mu       sync.Mutex
	state    *state // nil: the node was not provisioned
	promised int    // the highest revision that was promised to somebody; nothing of a lower one is taken
	stores   map[string]*store
	seen     map[string]time.Time // when another node answered last

	balancing sync.Mutex // one change of the map at a time
	progress  progress
	leading   sync.Mutex // by one look at a time
}

// kept is what is on the disk beside documents.
type kept struct {
	State    *state `json:"state"`
	Promised int    `json:"promised"`
}

// serve runs a node until ctx ends.
func serve(ctx context.Context, dir, version string) error {
	address, err := os.ReadFile(filepath.Join(dir, AddressFile))
	if err != nil {
		return fmt.Errorf("the double is told its address by a file: %w", err)
	}
	n := &node{
		dir: dir, address: strings.TrimSpace(string(address)), version: version, started: time.Now(),
		stores: map[string]*store{}, seen: map[string]time.Time{},
	}
	for _, name := range []string{configDir, dataDir, logDir} { // which the package brings, and a new volume has not
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || !info.IsDir() {
			return fmt.Errorf("%s is no directory", name)
		}
	}
	info, err := os.OpenFile(filepath.Join(dir, logDir, "info.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = info.Close() }()
	n.log = slog.New(slog.NewTextHandler(io.MultiWriter(info, os.Stdout), nil))
	if err := n.load(); err != nil {
		return err
	}
	defer n.closeStores()
	n.log.Info("starting", "version", version, "address", n.address)
	return n.listen(ctx)
}

// listen serves at both ports, and looks after the other nodes meanwhile.
func (n *node) listen(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	failed := make(chan error, 2)
	for port, handler := range map[string]http.Handler{restPort: n.rest(), peerPort: n.peers()} {
		l, err := net.Listen("tcp", net.JoinHostPort(n.address, port))
		if err != nil {
			cancel()
			return err
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		all.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
				cancel()
			}
		})
		all.Go(func() {
			<-ctx.Done()
			_ = server.Close()
		})
	}
	all.Go(func() { n.look(ctx) })
	<-ctx.Done()
	all.Wait()
	n.log.Info("ended")
	select {
	case err = <-failed:
	default:
	}
	return err
}

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

// load reads what is kept. A server does not start with what a newer one has written.
func (n *node) load() error {
	b, err := os.ReadFile(n.path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		return err
	}
	n.state, n.promised = k.State, k.Promised
	if n.state == nil {
		return nil
	}
	if n.state.Version > n.version {
		return fmt.Errorf("the data are of version %s, and this is %s: a downgrade is not possible", n.state.Version, n.version)
	}
	if n.state.Version < n.version {
		n.state.Version = n.version
		if err := n.save(); err != nil {
			return err
		}
	}
	return n.openStores()
}

// save writes what is kept. n.mu is held.
func (n *node) save() error {
	b, err := json.Marshal(kept{n.state, n.promised})
	if err != nil {
		return err
	}
	next := n.path(stateFile + ".new")
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(next, n.path(stateFile))
}

// openStores opens those of all buckets and takes those of others away. n.mu is held.
func (n *node) openStores() error {
	there := map[string]bool{}
	if n.state != nil {
		for _, b := range n.state.Buckets {
			there[b.UUID] = true
			if n.stores[b.UUID] != nil {
				continue
			}
			s, err := openStore(n.path(dataDir), b.UUID)
			if err != nil {
				return err
			}
			n.stores[b.UUID] = s
		}
	}
	for uuid, s := range n.stores {
		if !there[uuid] {
			_ = s.close()
			delete(n.stores, uuid)
		}
	}
	files, err := filepath.Glob(n.path(dataDir) + "/*.log")
	for _, file := range files {
		if !there[strings.TrimSuffix(filepath.Base(file), ".log")] {
			err = errors.Join(err, os.Remove(file))
		}
	}
	return err
}

func (n *node) closeStores() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.stores {
		_ = s.close()
	}
}

// become takes a state, which it writes first. A node that is not in it any more has none. n.mu is held.
func (n *node) become(s *state) error {
	if s != nil && s.member(n.address) == nil {
		n.log.Info("ejected")
		s = nil
	}
	before := n.state
	n.state = s
	if s != nil {
		n.promised = max(n.promised, s.Rev)
	} else {
		n.promised = 0
	}
	if err := n.save(); err != nil {
		n.state = before
		return err
	}
	return n.openStores()
}

// now is the state, which nobody changes.
func (n *node) now() *state {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

// storeOf is that of a bucket; nil when there is none.
func (n *node) storeOf(uuid string) *store {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stores[uuid]
}
