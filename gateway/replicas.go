package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

const maxReplicaCount = 3 // of one request, Trove's

// Localities of a replication set.
const (
	affinity     = "affinity"
	antiAffinity = "anti-affinity"
)

// checkExtras refuses what does not go with a create of an instance of its own.
func checkExtras(req createRequest) error {
	switch {
	case req.ReplicaCount != nil:
		return faultf(badRequest, "replica_count goes with replica_of.")
	case len(req.Modules) > 0:
		return faultf(notImplemented, "Modules are not available.")
	case req.Locality != "" && req.Locality != affinity && req.Locality != antiAffinity:
		return faultf(badRequest, "Validation error: instance['locality'] %q is not affinity or anti-affinity.", req.Locality)
	}
	return nil
}

// createReplicas makes one to three replicas of an instance; the answer shows the first.
func (g *Gateway) createReplicas(r *request, req createRequest) (reply, error) {
	count := 1
	if req.ReplicaCount != nil {
		count = *req.ReplicaCount
	}
	if count < 1 || count > maxReplicaCount {
		return reply{}, faultf(badRequest, "Validation error: replica_count %d is not 1 to %d.", count, maxReplicaCount)
	}
	o, err := g.orderReplica(r, req)
	if err != nil {
		return reply{}, err
	}
	if err := g.roomFor(r, o.instance, count); err != nil {
		return reply{}, err
	}
	var first etcdschema.Instance
	for n := range count {
		one := o
		one.instance.ID = newID()
		if count > 1 {
			one.instance.Name = fmt.Sprintf("%s-%d", req.Name, n+1)
		}
		in, _, err := g.place(r, one, false)
		if err != nil && n > 0 {
			if f := new(fault); errors.As(err, &f) {
				err = &fault{kind: f.kind, message: fmt.Sprintf("%d of %d replicas were asked for, then: %s", n, count, f.message), retryAfter: f.retryAfter, limit: f.limit}
			}
			return reply{}, err
		}
		if err != nil {
			return reply{}, err
		}
		if n == 0 {
			first = in
		}
	}
	return reply{http.StatusOK, map[string]any{"instance": g.detailView(r, first)}}, nil
}

// hostsOfSet are the hosts of the set that a replica joins, when its locality minds them.
func hostsOfSet(s etcdschema.Snapshot, replica etcdschema.Instance) ([]string, error) {
	if replica.ReplicaOf == "" || replica.Locality == "" {
		return nil, nil
	}
	rec, err := etcdschema.Read(s, etcdschema.InstanceKey(replica.Project, replica.ReplicaOf))
	source, err := mustFind(rec, err, "Instance", replica.ReplicaOf)
	if err != nil {
		return nil, err
	}
	hosts := []string{source.Host}
	if replica.Locality == affinity {
		return hosts, nil
	}
	for _, id := range source.Replicas {
		other, err := etcdschema.Read(s, etcdschema.InstanceKey(replica.Project, id))
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, other.Value.Host)
	}
	return hosts, nil
}

// orderReplica checks the create of a replica. What it is made of it has from its source.
func (g *Gateway) orderReplica(r *request, req createRequest) (order, error) {
	var o order
	if !nonEmpty(req.Name) {
		return o, faultf(badRequest, "Validation error: instance['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	for _, given := range []struct {
		name string
		is   bool
	}{
		{"flavorRef", req.FlavorRef != ""}, {"volume", req.Volume != nil}, {"datastore", req.Datastore.Type+req.Datastore.Version != ""},
		{"databases", len(req.Databases) > 0}, {"users", len(req.Users) > 0}, {"locality", req.Locality != ""}, {"restorePoint", req.RestorePoint != nil},
		{"modules", len(req.Modules) > 0}, {"user_data", req.UserData},
	} {
		if given.is {
			return o, faultf(badRequest, "A replica has the %s of its source; leave it out.", given.name)
		}
	}
	rec, err := etcdschema.Get(r.ctx, g.store, etcdschema.InstanceKey(r.project, req.ReplicaOf))
	if err != nil {
		return o, instanceError(err, req.ReplicaOf)
	}
	source := rec.Value
	if err := supports(source, method(datastores.MethodAttachReplica)); err != nil {
		return o, faultf(badRequest, "The datastore %s %s does not support replication.", source.Datastore, source.Version)
	}
	catalogue, err := g.catalogue(r.ctx)
	if err != nil {
		return o, err
	}
	o.hosts = catalogue.Hosts
	version, _ := catalogue.FindVersion(source.Datastore, source.Version)
	if version.Server.ReplicationStrategy == "" {
		return o, faultf(badRequest, "Replication of %s %s is turned off: its definition has no replication_strategy.", source.Datastore, source.Version)
	}
	guest, err := etcdschema.Get(r.ctx, g.store, etcdschema.InstanceGuestKey(source.ID))
	if err != nil {
		return o, err
	}
	now := g.now().UTC()
	o.guest = guest.Value
	o.instance = etcdschema.Instance{
		Project: r.project, Name: req.Name, Datastore: source.Datastore, Version: source.Version, VersionNumber: source.VersionNumber,
		Manager: source.Manager, Image: source.Image, Capabilities: source.Capabilities, Names: source.Names, UsersPerServer: source.UsersPerServer, FlavorID: source.FlavorID, Flavor: source.Flavor,
		VolumeGB: source.VolumeGB, VolumeType: source.VolumeType, Created: now, Updated: now, UsageTimeout: source.UsageTimeout,
		Service: datastores.Status{Service: datastores.StatusNew}, Public: source.Public, AllowedCIDRs: source.AllowedCIDRs, Firewall: source.Firewall,
		ReplicaOf: source.ID, Locality: source.Locality, ReplicationStrategy: version.Server.ReplicationStrategy,
		RootEnabled: source.RootEnabled, RootEnabledAt: source.RootEnabledAt, RootEnabledBy: source.RootEnabledBy,
	}
	o.instance.Firewall.Peers = nil
	if req.Access != nil {
		if err := restrict(&o.instance, *req.Access, false); err != nil {
			return o, err
		}
	}
	configuration, err := g.configurationFor(r, req.Configuration, version)
	o.instance.Configuration = configuration.ID
	o.need = needOf(o.instance)
	return o, err
}

// detachReplica makes a replica independent.
func (g *Gateway) detachReplica(r *request) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	if in.ReplicaOf == "" {
		return reply{}, faultf(badRequest, "Instance %s is not a replica.", in.ID)
	}
	return g.event(r, lifecycle.AskDetach)
}

func (g *Gateway) promoteReplica(r *request) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	if in.ReplicaOf == "" {
		return reply{}, faultf(badRequest, "Instance %s is not a replica, so it cannot be promoted.", in.ID)
	}
	_, err = g.transition(r.ctx, r.project, in.ID, lifecycle.Event{Type: lifecycle.AskPromote, Request: r.id()},
		func(p *plan) error {
			if lifecycle.Ready(p.before) != nil {
				return nil // the life cycle says more
			}
			source := etcdschema.Instance{ID: p.before.ReplicaOf}
			return cmp.Or(g.canBeAsked(p.s, p.before), g.canBeAsked(p.s, source)) // before anybody is made to refuse writes
		})
	return reply{status: http.StatusAccepted}, instanceError(err, in.ID)
}

// ejectSource puts a replica in the place of a source whose guest has not been heard of for so long that it counts as gone.
func (g *Gateway) ejectSource(r *request) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	if len(in.Replicas) == 0 {
		return reply{}, faultf(badRequest, "Instance %s is not a replica source.", in.ID)
	}
	_, err = g.transition(r.ctx, r.project, in.ID, lifecycle.Event{Type: lifecycle.AskEject, Request: r.id()},
		func(p *plan) error {
			presence, err := etcdschema.Read(p.s, etcdschema.PresenceKey(in.ID))
			if err == nil && g.reachable(in.ID, presence) == nil {
				err = faultf(badRequest, "The guest of instance %s is there, so it cannot be ejected; promote one of its replicas instead.", in.ID)
			}
			return err
		})
	return reply{status: http.StatusAccepted}, instanceError(err, in.ID)
}
