package double

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func services() []string {
	return []string{"kv", "index", "n1ql", "fts", "eventing", "cbas", "backup"}
}

// quotas are the parameters of memory with the least that each takes, in MiB.
func quotas() map[string]int {
	return map[string]int{"memoryQuota": 256, "indexMemoryQuota": 256, "ftsMemoryQuota": 256, "eventingMemoryQuota": 256, "cbasMemoryQuota": 1024, "queryMemoryQuota": 0}
}

func (n *node) getPools(r *http.Request) answer {
	a := map[string]any{"implementationVersion": n.version + ".0-1000-enterprise", "isEnterprise": true, "isAdminCreds": false, "pools": []any{}, "uuid": []any{}}
	if s := n.now(); s != nil {
		a["isAdminCreds"] = callerOf(r).has("admin", "")
		a["uuid"] = s.UUID
		a["pools"] = []map[string]string{{"name": "default", "uri": "/pools/default?uuid=" + s.UUID}}
	}
	return okay(a)
}

func (n *node) whoAmI(r *http.Request) answer {
	c := callerOf(r)
	return okay(map[string]any{"id": c.name, "domain": "local", "roles": c.roles})
}

// clusterInit provisions the node, all at once.
func (n *node) clusterInit(r *http.Request) answer {
	f := r.PostForm
	if problem := unknown(r, "hostname", "username", "password", "services", "memoryQuota", "indexMemoryQuota", "ftsMemoryQuota", "eventingMemoryQuota", "cbasMemoryQuota",
		"queryMemoryQuota", "port", "sendStats", "clusterName", "indexerStorageMode"); problem != "" {
		return refused(problem, "Unsupported key")
	}
	for _, name := range []string{"username", "password", "services", "port"} {
		if f.Get(name) == "" {
			return refused(name, "The value must be supplied")
		}
	}
	if host := f.Get("hostname"); host != n.address {
		return listed("Could not listen on address %q: eaddrnotavail", host)
	}
	if f.Get("port") != "SAME" || len(f.Get("password")) < 6 {
		return refused("password", "The password must be at least 6 characters long.")
	}
	wanted := strings.Split(f.Get("services"), ",")
	for _, s := range wanted {
		if !slices.Contains(services(), s) {
			return refused("services", "Unknown services: [%q]", s)
		}
	}
	s := &state{
		Rev: 1, UUID: rand.Text(), Cookie: rand.Text(), Name: f.Get("clusterName"), Version: n.version, Admin: newSecret(f.Get("username"), f.Get("password")),
		Nodes:  []member{{Host: n.address, Membership: active, Services: wanted}},
		Quotas: map[string]int{"memoryQuota": 256, "indexMemoryQuota": 512}, Buckets: map[string]*bucket{}, Users: map[string]*user{},
		Settings: map[string]map[string]string{}, Balanced: true,
	}
	if a := s.setQuotas(r); a.status != 0 {
		return a
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != nil { // somebody was faster
		return listed("Can't initialize: the node is already provisioned")
	}
	if err := n.become(s); err != nil {
		return answer{http.StatusInternalServerError, []string{err.Error()}}
	}
	return okay(map[string]string{"newBaseUri": "http://" + n.address + ":" + restPort + "/"})
}

// unknown is the name of a parameter that is none.
func unknown(r *http.Request, known ...string) string {
	for name := range r.PostForm {
		if !slices.Contains(known, name) {
			return name
		}
	}
	return ""
}

// setQuotas changes the quotas that a request names.
func (s *state) setQuotas(r *http.Request) answer {
	used := 0
	for _, b := range s.Buckets {
		used += b.Quota
	}
	for name, least := range quotas() {
		text := r.PostForm.Get(name)
		if text == "" {
			continue
		}
		mb, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return refused(name, "The value must be an integer")
		case mb < least:
			return refused(name, "The %s quota (%dMB) is lower than the minimum of %dMB", name, mb, least)
		case name == "memoryQuota" && mb < used:
			return refused(name, "The data service quota (%dMB) cannot be less than %dMB (current total buckets quota)", mb, used)
		}
		s.Quotas[name] = mb
	}
	return answer{}
}

func (n *node) setPool(r *http.Request) answer {
	names := []string{"clusterName"}
	for name := range quotas() {
		names = append(names, name)
	}
	if problem := unknown(r, names...); problem != "" {
		return refused(problem, "Unsupported key")
	}
	return n.change(r.Context(), okay(nil), func(s *state) answer { return s.setQuotas(r) })
}

// getPool tells of the cluster as this node sees it.
func (n *node) getPool(*http.Request) answer {
	s := n.now()
	var nodes []map[string]any
	for _, m := range s.Nodes {
		status := "unhealthy"
		if n.reaches(m.Host, time.Now()) {
			status = "healthy"
		}
		nodes = append(nodes, map[string]any{
			"hostname": m.Host + ":" + restPort, "otpNode": otp(m.Host), "thisNode": m.Host == n.address, "status": status, "clusterMembership": m.Membership,
			"recoveryType": m.recovery(), "services": m.Services, "version": n.version + ".0-1000-enterprise", "uptime": strconv.Itoa(int(time.Since(n.started).Seconds())),
		})
	}
	a := map[string]any{"name": "default", "clusterName": s.Name, "nodes": nodes, "balanced": s.Balanced, "rebalanceStatus": n.progress.status(), "buckets": map[string]string{"uri": "/pools/default/buckets"}}
	for name, mb := range s.Quotas {
		a[name] = mb
	}
	return okay(a)
}

func otp(host string) string { return "ns_1@" + host }

func (m member) recovery() string {
	if m.Recovery == "" {
		return "none"
	}
	return m.Recovery
}

// hardReset takes everything away.
func (n *node) hardReset(*http.Request) answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.become(nil); err != nil {
		return answer{http.StatusInternalServerError, fmt.Sprint(err)}
	}
	return okay(nil)
}
