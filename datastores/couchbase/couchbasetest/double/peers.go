package double

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// How nodes look after each other. A second of auto-failover's timeout is a tenth of one, so that tests need not wait.
const (
	lookEvery     = 100 * time.Millisecond
	unheardOf     = time.Second // when a node that does not answer is unhealthy
	askTimeout    = time.Second
	agreeTimeout  = 5 * time.Second // of what changes the state or the map, or copies
	failoverScale = 10
)

const cookieHeader = "Coffer-Double-Cookie"

// replication is a change for a replica.
type replication struct {
	Rev     int    `json:"rev"` // of the state by which the sender is the active node
	UUID    string `json:"uuid"`
	Persist bool   `json:"persist"`
	Change  change `json:"change"`
}

type replicated struct {
	Behind bool `json:"behind"` // the replica lacks something before the change, and has not taken it
}

// pong is what a node tells of itself.
type pong struct {
	Rev      int `json:"rev"`
	Promised int `json:"promised"`
}

// ask asks another node. It is refused with an error.
func (n *node) ask(ctx context.Context, host, path string, in, out any) error {
	s := n.now()
	if s == nil {
		return errors.New("this node is in no cluster")
	}
	return n.askBy(ctx, s.Cookie, host, path, in, out)
}

func (n *node) askBy(ctx context.Context, cookie, host, path string, in, out any) error {
	timeout := agreeTimeout
	if slices.Contains([]string{"/ping", "/replicate", "/operate"}, path) {
		timeout = askTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+":"+peerPort+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set(cookieHeader, cookie)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		var text [200]byte
		k, _ := resp.Body.Read(text[:])
		return fmt.Errorf("%s: %s%s: %s", resp.Status, host, path, bytes.TrimSpace(text[:k]))
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// peers serves the other nodes.
func (n *node) peers() http.Handler {
	mux := http.NewServeMux()
	serveJSON(mux, n, "/ping", func(*http.Request, struct{}) (pong, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return pong{n.state.Rev, n.promised}, nil
	})
	serveJSON(mux, n, "/state", func(*http.Request, struct{}) (*state, error) { return n.now(), nil })
	serveJSON(mux, n, "/prepare", func(_ *http.Request, in proposal) (struct{}, error) { return struct{}{}, n.prepared(in) })
	serveJSON(mux, n, "/commit", func(_ *http.Request, in *state) (struct{}, error) { return struct{}{}, n.committed(in) })
	serveJSON(mux, n, "/engage", func(_ *http.Request, in *state) (struct{}, error) { return struct{}{}, n.engaged(in) })
	serveJSON(mux, n, "/replicate", func(_ *http.Request, in replication) (replicated, error) { return n.replicated(in) })
	serveJSON(mux, n, "/operate", func(r *http.Request, in operation) (result, error) { return n.operateHere(r.Context(), in), nil })
	serveJSON(mux, n, "/list", func(_ *http.Request, in listing) (listing, error) { return n.listHere(in.UUID), nil })
	serveJSON(mux, n, "/copies", func(*http.Request, struct{}) (copies, error) { return n.copiesHere(), nil })
	serveJSON(mux, n, "/install", func(_ *http.Request, in copies) (struct{}, error) { return struct{}{}, n.install(in) })
	return mux
}

func serveJSON[In, Out any](mux *http.ServeMux, n *node, path string, serve func(*http.Request, In) (Out, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		if s := n.now(); s == nil || r.Header.Get(cookieHeader) != s.Cookie {
			http.Error(w, "wrong cookie", http.StatusForbidden)
			return
		}
		var in In
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := serve(r, in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})
}

// replicated takes a change of the active node, if nobody was promised that there is another one.
func (n *node) replicated(m replication) (replicated, error) {
	store := n.storeOf(m.UUID)
	if store == nil {
		return replicated{}, errors.New("there is no such bucket")
	}
	c := m.Change
	p := &store.parts[c.VB]
	p.Lock()
	defer p.Unlock()
	// Looked at under the lock: whoever copies this vBucket after a promise has what was taken before it.
	if m.Rev < n.promise() {
		return replicated{}, fmt.Errorf("revision %d is over", m.Rev)
	}
	switch {
	case c.Term < p.Term:
		return replicated{}, fmt.Errorf("vBucket %d is of term %d here", c.VB, p.Term)
	case c.All == nil && (c.Term != p.Term || c.Seq != p.Seq+1):
		return replicated{Behind: true}, nil
	}
	return replicated{}, store.apply(m.Persist, c)
}

func (n *node) promise() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.promised
}

// reaches reports whether another node has answered of late.
func (n *node) reaches(host string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return host == n.address || now.Sub(n.seen[host]) < unheardOf
}

// hasMajority reports whether this node reaches most of the active ones.
func (n *node) hasMajority(s *state) bool {
	hosts, reached := s.hosts(active), 0
	for _, host := range hosts {
		if n.reaches(host, time.Now()) {
			reached++
		}
	}
	return reached*2 > len(hosts)
}

// look asks the others again and again, takes a state that is newer, and fails over who does not answer.
func (n *node) look(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := n.now()
		if s == nil || len(s.Nodes) == 1 {
			continue
		}
		for _, m := range s.Nodes {
			if m.Host != n.address {
				go n.lookAt(ctx, m.Host)
			}
		}
		if n.leading.TryLock() {
			go func() {
				defer n.leading.Unlock()
				n.lead(ctx)
			}()
		}
	}
}

func (n *node) lookAt(ctx context.Context, host string) {
	var is pong
	if n.ask(ctx, host, "/ping", struct{}{}, &is) != nil {
		return
	}
	n.mu.Lock()
	n.seen[host] = time.Now()
	behind := n.state != nil && n.state.Rev < is.Rev
	n.mu.Unlock()
	if behind {
		n.catchUp(ctx, host)
	}
}

// catchUp takes the state of another node, if it is newer.
func (n *node) catchUp(ctx context.Context, host string) {
	var s *state
	if n.ask(ctx, host, "/state", struct{}{}, &s) != nil || s == nil {
		return
	}
	_ = n.committed(s)
}
