package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
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
	Pool      deployments.Pool     `json:"pool"`
	Managers  []string             `json:"managers"`
	Instances []string             `json:"instances"`
	Zone      string               `json:"availability_zone"`
	Labels    datastores.Labels    `json:"labels,omitempty"`
	Notes     []string             `json:"notes,omitempty"`
	Serves    []string             `json:"serves"`                 // datastore versions
	Cannot    map[string]string    `json:"cannot_serve,omitempty"` // and those that it cannot, by why
	Enrolled  string               `json:"enrolled"`
}

func (a *API) listHosts(r *request) (reply, error) {
	list, err := etcdschema.List(r.ctx, a.Control.Store, etcdschema.Hosts(), etcdschema.Page{})
	if err != nil {
		return reply{}, err
	}
	catalogue, err := a.Control.Settled(r.ctx)
	if err != nil {
		return reply{}, err
	}
	views := []hostView{}
	for _, rec := range list.Records {
		id, h := etcdschema.Hosts().Name(rec.Key), rec.Value
		v := hostView{
			ID: id, Name: h.Name, Driver: h.Driver, Disabled: h.Disabled, Capacity: h.Capacity, Free: control.Free(h), Pool: h.Pool,
			Managers: catalogue.Hosts[id].Managers, Instances: []string{}, Zone: h.Zone, Labels: h.Labels, Notes: catalogue.Hosts[id].Notes, Enrolled: control.Stamp(h.Enrolled),
		}
		if said := catalogue.Hosts[id].Said; !said.Equal(deployments.Place{}) && !said.Equal(h.Place) {
			v.Notes = append(slices.Clip(v.Notes), fmt.Sprintf("its own configuration says %s; what counts is %s, as `coffer host set` can change", said, h.Place))
		}
		v.Serves, v.Cannot = control.VerdictsOf(catalogue, id)
		for instance := range h.Allocated {
			v.Instances = append(v.Instances, instance)
		}
		seen, err := a.Control.Contact(r.ctx, id)
		if err != nil {
			return reply{}, err
		}
		v.Connected, v.Locked = seen.Connected, seen.Locked
		if !seen.Since.IsZero() {
			v.Since = control.Stamp(seen.Since)
		}
		views = append(views, v)
	}
	return reply{http.StatusOK, map[string]any{"hosts": views}}, nil
}

// updateHost takes an operator's word for a host.
func (a *API) updateHost(r *request) (reply, error) {
	body, err := decode[struct {
		Host control.HostChange `json:"host"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	return accepted(a.Control.ChangeHost(r.ctx, r.param("host"), body.Host))
}

func (a *API) deleteHost(r *request) (reply, error) {
	return accepted(a.Control.ForgetHost(r.ctx, r.param("host")))
}

// createEnrolment makes a single-use token for a host: a new one, or one that enrols anew under its old id.
func (a *API) createEnrolment(r *request) (reply, error) {
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
	e, err := a.Control.EnrolHost(r.ctx, body.Enrolment.Host, granted)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"enrolment": map[string]string{
		"token": e.Token.String(), "kind": string(agentpoll.Host), "agent_id": e.ID, "expires": control.Stamp(e.Expires), "ca": strings.Join(e.Token.CAs, ","),
	}}}, nil
}

// grantOf is what an enrolment lets a host give at most; nil when it does not say.
func grantOf(capacity *deployments.Capacity, pool string) (*etcdschema.HostGrant, error) {
	if capacity == nil && pool == "" {
		return nil, nil
	}
	grant := &etcdschema.HostGrant{}
	if capacity != nil {
		grant.Capacity = *capacity
	}
	if c := grant.Capacity; c.MemoryMB < 0 || c.VCPUs < 0 || c.DiskGB < 0 {
		return nil, fault.Errorf(fault.BadRequest, "Validation error: enrolment['capacity'] must be like {\"memory_mb\": 65536, \"vcpus\": 16, \"disk_gb\": 1000}.")
	}
	if grant.Pool.UnmarshalText([]byte(pool)) != nil {
		return nil, fault.Errorf(fault.BadRequest, "Validation error: enrolment['pool'] %q is not a network of IPv4 such as 10.20.0.0/16.", pool)
	}
	return grant, nil
}

func (a *API) unlockAgent(r *request) (reply, error) {
	return accepted(a.Control.Unlock(r.ctx, r.Caller, r.param("agent")))
}

// showAudit tells what is kept of an agent's commands, and whether both ends keep the same.
func (a *API) showAudit(r *request) (reply, error) {
	report, err := a.Auditor.Of(r.ctx, r.Caller, r.param("agent"))
	return reply{http.StatusOK, map[string]any{"audit": report}}, err
}
