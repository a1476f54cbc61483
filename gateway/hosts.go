package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// hostView is a host as operators see it.
type hostView struct {
	ID        string               `json:"id"`
	Name      string               `json:"name"`
	Driver    string               `json:"driver"`
	Connected bool                 `json:"connected"`
	Since     string               `json:"since,omitempty"`  // of being connected, or not
	Locked    string               `json:"locked,omitempty"` // why its agent is refused
	Disabled  bool                 `json:"disabled"`
	Capacity  deployments.Capacity `json:"capacity"`
	Free      deployments.Capacity `json:"free"`
	Pool      string               `json:"pool"`
	Managers  []string             `json:"managers"`
	Instances []string             `json:"instances"`
	Labels    map[string]string    `json:"labels,omitempty"`
	Notes     []string             `json:"notes,omitempty"`
	Serves    []string             `json:"serves"`                 // datastore versions
	Cannot    map[string]string    `json:"cannot_serve,omitempty"` // and those that it cannot, by why
	Enrolled  string               `json:"enrolled"`
}

func (g *Gateway) listHosts(r *request) (reply, error) {
	list, err := etcdschema.List(r.ctx, g.store, etcdschema.Hosts(), etcdschema.Page{})
	if err != nil {
		return reply{}, err
	}
	catalogue, err := g.settled(r.ctx)
	if err != nil {
		return reply{}, err
	}
	views := []hostView{}
	for _, rec := range list.Records {
		id, h := etcdschema.Hosts().Name(rec.Key), rec.Value
		v := hostView{
			ID: id, Name: h.Name, Driver: h.Driver, Disabled: h.Disabled, Capacity: h.Capacity, Free: free(h), Pool: h.Pool,
			Managers: h.Managers, Instances: []string{}, Labels: h.Labels, Notes: h.Notes, Enrolled: stamp(h.Enrolled),
		}
		v.Serves, v.Cannot = verdictsOf(catalogue, id)
		for instance := range h.Allocated {
			v.Instances = append(v.Instances, instance)
		}
		if p, err := etcdschema.Get(r.ctx, g.store, etcdschema.PresenceKey(id)); err == nil {
			v.Connected, v.Since = p.Value.Gateway != "", stamp(p.Value.Since)
		} else if !errors.Is(err, etcdschema.ErrNotFound) {
			return reply{}, err
		}
		if agent, err := etcdschema.Get(r.ctx, g.store, etcdschema.AgentKey(id)); err == nil {
			v.Locked = agent.Value.Locked
			v.Connected = v.Connected && v.Locked == ""
		} else if !errors.Is(err, etcdschema.ErrNotFound) {
			return reply{}, err
		}
		views = append(views, v)
	}
	return reply{http.StatusOK, map[string]any{"hosts": views}}, nil
}

// updateHost lets a host take new instances, or not.
func (g *Gateway) updateHost(r *request) (reply, error) {
	body, err := decode[struct {
		Host struct {
			Disabled *bool `json:"disabled"`
		} `json:"host"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Host.Disabled == nil {
		return reply{}, faultf(badRequest, "Validation error: host['disabled'] must be true or false.")
	}
	key := etcdschema.HostKey(r.param("host"))
	_, err = g.store.Update(r.ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		host, err := mustFind(rec, err, "Host", r.param("host"))
		host.Disabled = *body.Host.Disabled
		return []etcdschema.Op{etcdschema.Put(key, host)}, err
	})
	return reply{status: http.StatusAccepted}, err
}

// deleteHost forgets a host that has no instances. Its agent is refused from then on.
func (g *Gateway) deleteHost(r *request) (reply, error) {
	id := r.param("host")
	key := etcdschema.HostKey(id)
	_, err := g.store.Update(r.ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		host, err := mustFind(rec, err, "Host", id)
		if err != nil {
			return nil, err
		}
		if n := len(host.Allocated); n > 0 {
			return nil, faultf(unprocessable, "Host %s still has %d instances; delete them first.", id, n)
		}
		return []etcdschema.Op{
			etcdschema.Delete(key), etcdschema.Delete(etcdschema.AgentKey(id)), etcdschema.Delete(etcdschema.PresenceKey(id)),
			etcdschema.Delete(etcdschema.HostCheckKey(id)),
			etcdschema.DeleteAll(etcdschema.Commands(id)),
		}, nil
	})
	return reply{status: http.StatusAccepted}, err
}

// createEnrolment makes a single-use token for a host: a new one, or one that enrols anew under its old id.
func (g *Gateway) createEnrolment(r *request) (reply, error) {
	body, err := decode[struct {
		Enrolment struct {
			Host     string                `json:"host"`
			Capacity *deployments.Capacity `json:"capacity"`
			Pool     string                `json:"pool"`
		} `json:"enrolment"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	granted, err := grantOf(body.Enrolment.Capacity, body.Enrolment.Pool)
	if err != nil {
		return reply{}, err
	}
	id := newID()
	if old := body.Enrolment.Host; old != "" {
		_, err := etcdschema.Get(r.ctx, g.store, etcdschema.HostKey(old))
		if isNotFound(err) {
			err = notFound("Host", old)
		}
		if err != nil {
			return reply{}, err
		}
		id = old
	}
	if pending, err := etcdschema.Count(r.ctx, g.store, etcdschema.Enrolments()); err != nil {
		return reply{}, err
	} else if !g.Limits.within("enrolments", int64(pending)+1) {
		return reply{}, over("enrolments", overLimit, "There are %d enrolment tokens already; they end after an hour.", pending)
	}
	token := g.signer.newToken()
	expires := g.now().UTC().Add(keepEnrolments)
	_, err = g.store.Update(r.ctx, nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		e := etcdschema.Enrolment{Kind: agentpoll.Host, AgentID: id, Created: g.now().UTC(), Granted: granted}
		return []etcdschema.Op{enrolmentOp(token, e, keepEnrolments)}, nil
	})
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"enrolment": map[string]string{
		"token": token.String(), "kind": string(agentpoll.Host), "agent_id": id, "expires": stamp(expires), "ca": strings.Join(g.AgentCAs, ","),
	}}}, nil
}

// grantOf is what an enrolment lets a host give at most; nil when it does not say.
func grantOf(capacity *deployments.Capacity, pool string) (*etcdschema.HostGrant, error) {
	if capacity == nil && pool == "" {
		return nil, nil
	}
	grant := &etcdschema.HostGrant{Pool: pool}
	if capacity != nil {
		grant.Capacity = *capacity
	}
	if c := grant.Capacity; c.MemoryMB < 0 || c.VCPUs < 0 || c.DiskGB < 0 {
		return nil, faultf(badRequest, "Validation error: enrolment['capacity'] must be like {\"memory_mb\": 65536, \"vcpus\": 16, \"disk_gb\": 1000}.")
	}
	if _, err := netip.ParsePrefix(pool); pool != "" && err != nil {
		return nil, faultf(badRequest, "Validation error: enrolment['pool'] %q is not a network such as 10.20.0.0/16.", pool)
	}
	return grant, nil
}

// unlockAgent ends the lock of an agent whose identity was used twice; the operator has seen to the copy. Whichever of the last two
// credentials is shown next goes on, and ends the other.
func (g *Gateway) unlockAgent(r *request) (reply, error) {
	key := etcdschema.AgentKey(r.param("agent"))
	_, err := g.store.Update(r.ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		agent, err := mustFind(rec, err, "Agent", r.param("agent"))
		if err != nil {
			return nil, err
		}
		was := agent.Locked
		if n := len(agent.Retired); n > 0 && agent.Locked != "" {
			agent.NextHash, agent.Sequence, agent.Retired = agent.Retired[n-1].Hash, agent.Retired[n-1].Sequence-1, nil
		}
		agent.Locked = ""
		ops := []etcdschema.Op{etcdschema.Put(key, agent)}
		if was == "" {
			return ops, nil
		}
		told, err := g.tellOfAgent(s, agent, "note", "An operator has ended the guest's lock. The first to show one of its last two credentials goes on, and nobody else.", r.id())
		return append(ops, told...), err
	})
	return reply{status: http.StatusAccepted}, err
}
