package gateway

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// updateInstance renames, and changes one thing beside: the configuration group, the source, the datastore version or who may
// reach it. An empty object asks to detach the configuration group. The name comes last: when anything is refused, nothing of it
// was done.
func (g *Gateway) updateInstance(r *request) (reply, error) {
	body, err := decode[struct {
		Instance map[string]json.RawMessage `json:"instance"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Instance == nil {
		return reply{}, faultf(badRequest, "Validation error: 'instance' is a required property.")
	}
	name, err := newName(body.Instance)
	if err != nil {
		return reply{}, err
	}
	change, err := g.changeOf(body.Instance)
	if err != nil {
		return reply{}, err
	}
	if change != nil {
		if rep, err := change(r); err != nil || name == "" {
			return rep, err
		}
	}
	return reply{status: http.StatusAccepted}, g.change(r, func(_ etcdschema.Snapshot, in *etcdschema.Instance) ([]etcdschema.Op, error) {
		in.Name = name
		return nil, nil
	})
}

// newName reads the name of an update; "" when it keeps the old one.
func newName(update map[string]json.RawMessage) (name string, err error) {
	raw, ok := update["name"]
	if !ok {
		return "", nil
	}
	if err := json.Unmarshal(raw, &name); err != nil || !nonEmpty(name) {
		return "", faultf(badRequest, "Validation error: instance['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	return name, nil
}

// changeOf finds what an update asks for beside the name; nil when that is all.
func (g *Gateway) changeOf(update map[string]json.RawMessage) (change func(*request) (reply, error), err error) {
	for key, value := range update {
		var one func(*request) (reply, error)
		switch key {
		case "name":
			continue
		case "configuration":
			one = func(r *request) (reply, error) { return g.attachRaw(r, value) }
		case "replica_of", "slave_of":
			one = g.detachReplica
		case "datastore_version":
			one = func(r *request) (reply, error) { return g.upgradeInstance(r, value) }
		case "access":
			one = func(r *request) (reply, error) { return g.changeAccess(r, value) }
		default:
			return nil, faultf(badRequest, "Validation error: instance[%q] is unknown; allowed: name, configuration, replica_of, datastore_version, access.", key)
		}
		if change != nil {
			return nil, faultf(badRequest, "Validation error: beside the name only one of configuration, replica_of, datastore_version and access can be changed at a time.")
		}
		change = one
	}
	if len(update) == 0 {
		change = func(r *request) (reply, error) { return g.attach(r, "") }
	}
	return change, nil
}

// change writes the instance of the path with something about it changed that is no operation.
func (g *Gateway) change(r *request, f func(etcdschema.Snapshot, *etcdschema.Instance) ([]etcdschema.Op, error)) error {
	key := etcdschema.InstanceKey(r.project, r.param("id"))
	_, err := g.store.Update(r.ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		in, err := mustFind(rec, err, "Instance", r.param("id"))
		if err != nil {
			return nil, err
		}
		ops, err := f(s, &in)
		in.Updated = g.now().UTC()
		return append(ops, etcdschema.Put(key, in)), err
	})
	return instanceError(err, r.param("id"))
}

// changeAccess says anew who may reach the instance; its host is told.
func (g *Gateway) changeAccess(r *request, raw json.RawMessage) (reply, error) {
	var access accessView
	if err := json.Unmarshal(raw, &access); err != nil {
		return reply{}, faultf(badRequest, `Validation error: access must be like {"is_public": true, "allowed_cidrs": ["10.0.0.0/8"]}.`)
	}
	if _, err := networks(access.AllowedCIDRs); err != nil { // whatever the instance is doing
		return reply{}, err
	}
	err := g.change(r, func(s etcdschema.Snapshot, in *etcdschema.Instance) ([]etcdschema.Op, error) {
		if in.Operation != nil && !in.Prepared {
			return nil, &lifecycle.NotAllowed{Message: "Instance " + in.ID + " is still being made."}
		}
		peers, err := peersOf(s, *in)
		if err != nil {
			return nil, err
		}
		if err := restrict(in, access, true); err != nil {
			return nil, err
		}
		in.Firewall.Peers = nil
		for _, p := range peers {
			in.Firewall.Peers = append(in.Firewall.Peers, p.Address)
		}
		slices.Sort(in.Firewall.Peers)
		event := etcdschema.Event{At: g.now().UTC(), Kind: "note", Message: whoMayReach(*in), Request: r.id()}
		ops := tell(in, event)
		if in.Host == "" {
			return ops, nil
		}
		op, err := g.signer.protect(*in, g.now().UTC())
		return append(ops, op), err
	})
	return reply{status: http.StatusAccepted}, err
}

// upgradeInstance brings an instance to another version of its datastore, by name or id.
func (g *Gateway) upgradeInstance(r *request, raw json.RawMessage) (reply, error) {
	var ref string
	if err := json.Unmarshal(raw, &ref); err != nil || ref == "" {
		return reply{}, faultf(badRequest, "Validation error: instance['datastore_version'] must be the name or id of a version.")
	}
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	catalogue, err := g.settled(r.ctx)
	if err != nil {
		return reply{}, err
	}
	d, _ := findDatastore(catalogue, in.Datastore)
	v, ok := findVersion(d.Versions, ref)
	switch {
	case ok && v.Name == in.Version:
		return reply{status: http.StatusAccepted}, nil
	case !ok || !v.Offered():
		return reply{}, faultf(badRequest, "Datastore version '%s' of %s cannot be found or is not active.", ref, in.Datastore)
	case v.Server.Manager != in.Manager:
		return reply{}, faultf(badRequest, "Version %s of %s has the manager %s; this instance has %s and cannot be upgraded to it.", v.Name, v.Datastore, v.Server.Manager, in.Manager)
	case len(in.Replicas) > 0 || in.ReplicaOf != "":
		return reply{}, faultf(unprocessable, "Instance %s is in a replication set; detach its replicas before an upgrade.", in.ID)
	}
	if err := supports(in, method(datastores.MethodUpgrade)); err != nil {
		return reply{}, err
	}
	if err := refusedBy(catalogue.Hosts, in.Host, v); err != nil {
		return reply{}, err
	}
	if err := g.checkUpgradeOf(r, in, v); err != nil {
		return reply{}, err
	}
	target := &etcdschema.Target{Version: &etcdschema.Upgrade{
		Version: v.Name, VersionNumber: v.Server.VersionNumber, Capabilities: v.Server.Capabilities, Names: v.Server.Names, Image: v.Server.Image, Guest: v.Guest,
	}}
	_, err = g.transition(r.ctx, r.project, in.ID, lifecycle.Event{Type: lifecycle.AskUpgrade, Target: target, Request: r.id()})
	return reply{status: http.StatusAccepted}, instanceError(err, in.ID)
}

// checkUpgradeOf refuses a version that does not take the values of the instance's configuration group.
func (g *Gateway) checkUpgradeOf(r *request, in etcdschema.Instance, v etcdschema.Version) error {
	if in.Configuration == "" {
		return nil
	}
	group, err := g.findConfiguration(r, in.Configuration)
	if err != nil {
		return err
	}
	problems := datastores.CheckValues(v.Server.Parameters, group.Values)
	if len(problems) == 0 {
		return nil
	}
	return faultf(unprocessable, "Version %s of %s does not take a value of configuration group %s: %s. Take it out of the group, or detach the group, before the upgrade.",
		v.Name, v.Datastore, group.ID, listed(problems))
}
