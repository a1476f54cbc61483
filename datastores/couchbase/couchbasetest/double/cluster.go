package double

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// progress is that of a rebalance.
type progress struct {
	mu      sync.Mutex
	running bool
	done    float64
	failed  string // why the last one has failed
}

func (p *progress) status() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return "running"
	}
	return "none"
}

func (p *progress) set(done float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = done
}

// begin reports whether none was running.
func (p *progress) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return false
	}
	p.running, p.done, p.failed = true, 0, ""
	return true
}

func (p *progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
	if err != nil {
		p.failed = err.Error()
	}
}

func (n *node) rebalanceProgress(*http.Request) answer {
	a := map[string]any{"status": n.progress.status()}
	n.progress.mu.Lock()
	defer n.progress.mu.Unlock()
	if n.progress.failed != "" {
		a["errorMessage"] = "Rebalance failed. See logs for detailed reason. You can try again."
	}
	if n.progress.running {
		for _, host := range n.now().hosts(active) {
			a[otp(host)] = map[string]float64{"progress": n.progress.done}
		}
	}
	return okay(a)
}

// named are the nodes of a parameter, which may be there several times and have commas.
func named(r *http.Request, parameter string) (hosts []string) {
	for _, text := range r.PostForm[parameter] {
		for name := range strings.SplitSeq(text, ",") {
			if name != "" {
				hosts = append(hosts, strings.TrimPrefix(name, "ns_1@"))
			}
		}
	}
	slices.Sort(hosts)
	return hosts
}

// rebalance begins one: nodes that were added or recovered come in, those that have failed or are ejected go.
func (n *node) rebalance(r *http.Request) answer {
	known, eject, s := named(r, "knownNodes"), named(r, "ejectedNodes"), n.now()
	var all []string
	for _, m := range s.Nodes {
		all = append(all, m.Host)
	}
	slices.Sort(all)
	switch {
	case len(known) == 0:
		return answer{http.StatusBadRequest, map[string]int{"empty_known_nodes": 1}}
	case !slices.Equal(known, all) || slices.ContainsFunc(eject, func(host string) bool { return !slices.Contains(all, host) }):
		return answer{http.StatusBadRequest, map[string]int{"mismatch": 1}}
	}
	plan := func(s *state) {
		var nodes []member
		for _, m := range s.Nodes {
			switch {
			case slices.Contains(eject, m.Host), m.Membership == inactiveFailed && m.Recovery == "":
				continue
			}
			m.Membership, m.Recovery = active, ""
			nodes = append(nodes, m)
		}
		s.Nodes, s.Failures = nodes, 0
	}
	next := s.clone()
	if plan(next); len(next.Nodes) == 0 {
		return answer{http.StatusBadRequest, map[string]int{"no_kv_nodes_left": 1}}
	}
	if !n.progress.begin() {
		return answer{http.StatusBadRequest, map[string]int{"already_running": 1}}
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err := n.remap(ctx, wish{plan: plan, balance: true, unsafe: false})
		if err != nil {
			n.log.Error("rebalance failed", "err", err)
		}
		n.progress.end(err)
	}()
	return okay(nil)
}

// failOver gives nodes up.
func (n *node) failOver(r *http.Request) answer {
	hosts, s := named(r, "otpNode"), n.now()
	for _, host := range hosts {
		if m := s.member(host); m == nil || m.Membership != active {
			return answer{http.StatusBadRequest, "Unknown server given: [\"" + otp(host) + "\"]"}
		}
	}
	if len(hosts) == 0 || len(hosts) == len(s.hosts(active)) {
		return answer{http.StatusBadRequest, "Last active node cannot be failed over"}
	}
	if err := n.giveUp(r.Context(), hosts, wish{unsafe: r.PostForm.Get("allowUnsafe") == "true", lossy: true}); err != nil {
		if errors.Is(err, errNoMajority) {
			return answer{http.StatusGatewayTimeout, "Cannot safely perform a failover at the moment"}
		}
		return answer{http.StatusInternalServerError, err.Error()}
	}
	return okay(nil)
}

func (n *node) giveUp(ctx context.Context, hosts []string, w wish) error {
	w.plan = func(s *state) {
		for i := range s.Nodes {
			if slices.Contains(hosts, s.Nodes[i].Host) {
				s.Nodes[i].Membership = inactiveFailed
			}
		}
	}
	err := n.remap(ctx, w)
	n.log.Info("failover", "hosts", hosts, "err", err)
	return err
}

func (n *node) setRecoveryType(r *http.Request) answer {
	kind := r.PostForm.Get("recoveryType")
	if kind != "full" && kind != "delta" {
		return refused("recoveryType", "recovery type must be either 'delta' or 'full'")
	}
	return n.change(r.Context(), okay(nil), func(s *state) answer {
		for _, host := range named(r, "otpNode") {
			m := s.member(host)
			if m == nil || m.Membership != inactiveFailed {
				return refused("otpNode", "invalid node name or node can't be used for delta recovery")
			}
			m.Recovery = kind
		}
		return answer{}
	})
}

// ejectNode takes out nodes that are not active.
func (n *node) ejectNode(r *http.Request) answer {
	return n.change(r.Context(), okay(nil), func(s *state) answer {
		for _, host := range named(r, "otpNode") {
			m := s.member(host)
			if m == nil || m.Membership == active {
				return answer{http.StatusBadRequest, "Cannot remove active server."}
			}
			s.Nodes = slices.DeleteFunc(s.Nodes, func(m member) bool { return m.Host == host })
		}
		return answer{}
	})
}

// lead does what the first active node that is reached has to: it fails over who does not answer for too long, and ends a change of the map
// that somebody has begun.
func (n *node) lead(ctx context.Context) {
	s := n.now()
	if s == nil || !n.hasMajority(s) {
		return
	}
	now, hosts := time.Now(), s.hosts(active)
	var gone []string
	leads := false
	for _, host := range hosts {
		if n.reaches(host, now) {
			leads = leads || len(gone) == slices.Index(hosts, host) && host == n.address
		} else {
			gone = append(gone, host)
		}
	}
	if !leads || !n.balancing.TryLock() {
		return
	}
	n.balancing.Unlock()
	settings := s.Settings[autoFailover]
	seconds, _ := strconv.Atoi(cmp.Or(settings["timeout"], "120"))
	most, _ := strconv.Atoi(cmp.Or(settings["maxCount"], "1"))
	limit := time.Duration(seconds) * time.Second / failoverScale
	switch {
	case len(gone) == 0 && n.promise() > s.Rev && n.progress.status() == "none":
		err := n.remap(ctx, wish{plan: func(*state) {}})
		n.log.Info("a change of the map was ended", "err", err)
	case len(gone) == 1 && settings["enabled"] != "false" && len(hosts) >= 3 && s.Failures < most && now.Sub(n.heard(gone[0])) > limit:
		err := n.remap(ctx, wish{plan: func(s *state) {
			if m := s.member(gone[0]); m != nil && m.Membership == active {
				m.Membership = inactiveFailed
				s.Failures++
			}
		}})
		n.log.Info("auto-failover", "host", gone[0], "err", err)
	}
}

// heard is when a node answered last, or when this one was started.
func (n *node) heard(host string) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at := n.seen[host]; at.After(n.started) {
		return at
	}
	return n.started
}

// doJoin has a node of another cluster add this one, by the credentials of that.
func (n *node) doJoin(r *http.Request) answer {
	f := r.PostForm
	for _, name := range []string{"clusterMemberHostIp", "clusterMemberPort", "user", "password"} {
		if f.Get(name) == "" {
			return listed("Missing %s", name)
		}
	}
	if s := n.now(); s != nil && len(s.Nodes) > 1 {
		return listed("Node is already part of cluster.")
	}
	// The other node comes back with this one's cookie in place of its password.
	s := n.now()
	if s == nil {
		return listed("the double joins when it is provisioned alone")
	}
	form := url.Values{"hostname": {n.address}, "user": {"@cookie"}, "password": {s.Cookie}, "services": {cmp.Or(f.Get("services"), "kv")}}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://"+f.Get("clusterMemberHostIp")+":"+f.Get("clusterMemberPort")+"/controller/addNode", strings.NewReader(form.Encode()))
	if err != nil {
		return listed("%v", err)
	}
	req.SetBasicAuth(f.Get("user"), f.Get("password"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return listed("Failed to reach erlang port mapper at node %q. Error: %v", f.Get("clusterMemberHostIp"), err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusUnauthorized {
		return listed("Prepare join failed. Authentication failed. Verify username and password.")
	}
	if resp.StatusCode != http.StatusOK {
		var said any
		_ = json.NewDecoder(resp.Body).Decode(&said)
		return listed("Prepare join failed. %v", said)
	}
	return okay(nil)
}

// addNode adds a node, which takes no part before the next rebalance.
func (n *node) addNode(r *http.Request) answer {
	f := r.PostForm
	host := strings.TrimSuffix(strings.TrimPrefix(f.Get("hostname"), "https://"), ":18091")
	if strings.HasPrefix(host, "http://") || strings.HasSuffix(host, ":8091") {
		return listed("http is prohibited due to security reasons, please use https")
	}
	if f.Get("user") != "@cookie" {
		return listed("the double adds nodes that join, and no others")
	}
	wanted := strings.Split(cmp.Or(f.Get("services"), "kv"), ",")
	for _, s := range wanted {
		if !slices.Contains(services(), s) {
			return listed("Unknown services: [%q]", s)
		}
	}
	before := n.now()
	if n.version != before.Version {
		return listed("another version")
	}
	a := n.change(r.Context(), answer{}, func(s *state) answer {
		if m := s.member(host); m != nil {
			if m.Membership != inactiveAdded {
				return listed("Prepare join failed. Node is already part of cluster.")
			}
			return answer{}
		}
		s.Nodes, s.Balanced = append(s.Nodes, member{Host: host, Membership: inactiveAdded, Services: wanted}), false
		return answer{}
	})
	if a.status != 0 {
		return a
	}
	var out struct{}
	if err := n.askBy(r.Context(), f.Get("password"), host, "/engage", n.now(), &out); err != nil {
		_ = n.change(r.Context(), answer{}, func(s *state) answer {
			s.Nodes = slices.DeleteFunc(s.Nodes, func(m member) bool { return m.Host == host && m.Membership == inactiveAdded })
			return answer{}
		})
		return listed("Prepare join failed. %v", err)
	}
	return okay(map[string]string{"otpNode": otp(host)})
}

// engaged takes the state of the cluster that this node joins. What it had is gone.
func (n *node) engaged(s *state) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != nil && len(n.state.Nodes) > 1 {
		return errors.New("Node is already part of cluster.")
	}
	n.promised = 0
	return n.become(s)
}
