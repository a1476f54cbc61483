package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// createRequest is the body of POST instances.
type createRequest struct {
	Name      string     `json:"name"`
	FlavorRef stringOrID `json:"flavorRef"`
	Volume    *struct {
		Size stringOrID `json:"size"`
		Type string     `json:"type"`
	} `json:"volume"`
	Datastore struct {
		Type          string `json:"type"`
		Version       string `json:"version"`
		VersionNumber string `json:"version_number"`
	} `json:"datastore"`
	Databases []databaseBody  `json:"databases"`
	Users     []userBody      `json:"users"`
	Access    *accessView     `json:"access"`
	Nics      json.RawMessage `json:"nics"` // accepted and left to the host: there are no networks to choose from
	// UserData asks for an instance without a host: the answer carries the cloud-init user-data of a machine to boot.
	UserData bool `json:"user_data"`

	Configuration any    `json:"configuration"`
	ReplicaOf     string `json:"replica_of"`
	SlaveOf       string `json:"slave_of"`
	ReplicaCount  *int   `json:"replica_count"`
	RestorePoint  any    `json:"restorePoint"`
	Modules       []any  `json:"modules"`
}

// stringOrID is a JSON string or number, as clients send flavors and sizes.
type stringOrID string

func (s *stringOrID) UnmarshalJSON(b []byte) error {
	var n json.Number
	if len(b) > 0 && b[0] != '"' {
		if err := json.Unmarshal(b, &n); err != nil {
			return faultf(badRequest, "Validation error: want a string or a number, not %s.", b)
		}
		*s = stringOrID(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(s))
}

// order is a create that has been checked: everything but the place is decided.
type order struct {
	instance etcdschema.Instance
	guest    json.RawMessage
	prepare  datastores.PrepareArgs
	password string // of root, when root_on_create
	need     deployments.Capacity
}

func (g *Gateway) createInstance(r *request) (reply, error) {
	body, err := decode[struct {
		Instance *createRequest `json:"instance"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Instance == nil {
		return reply{}, faultf(badRequest, "Validation error: 'instance' is a required property.")
	}
	req := *body.Instance
	o, err := g.order(r, req)
	if err != nil {
		return reply{}, err
	}
	in, token, err := g.place(r, o, req.UserData)
	if err != nil {
		return reply{}, err
	}
	view := g.detailView(r, in)
	view.Password = o.password
	if req.UserData {
		if view.UserData, err = g.userData(in, o, token); err != nil {
			return reply{}, err
		}
	}
	return reply{http.StatusOK, map[string]any{"instance": view}}, nil
}

// order checks a create against everything but the hosts and the quota.
func (g *Gateway) order(r *request, req createRequest) (order, error) {
	var o order
	if !nonEmpty(req.Name) {
		return o, faultf(badRequest, "Validation error: instance['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	if err := notYet(req); err != nil {
		return o, err
	}
	catalogue, err := g.store.Catalogue(r.ctx)
	if err != nil {
		return o, err
	}
	version, err := chooseVersion(catalogue, req.Datastore.Type, req.Datastore.Version)
	if err != nil {
		return o, err
	}
	flavorID := lastPart(string(req.FlavorRef))
	if flavorID == "" {
		return o, faultf(badRequest, "Validation error: instance['flavorRef'] is required; GET flavors lists what there is.")
	}
	flavor, err := etcdschema.Get(r.ctx, g.store, etcdschema.FlavorKey(flavorID))
	if err != nil {
		if faultOf(err, "").kind == itemNotFound {
			err = faultf(badRequest, "Flavor %s cannot be found; GET flavors lists what there is.", flavorID)
		}
		return o, err
	}
	volumeGB, err := volumeSize(req, version.Server)
	if err != nil {
		return o, err
	}
	if err := checkAccess(req.Access); err != nil {
		return o, err
	}
	now := g.now().UTC()
	o.instance = etcdschema.Instance{
		ID: newID(), Project: r.project, Name: req.Name, Datastore: version.Datastore, Version: version.Name,
		VersionNumber: version.Server.VersionNumber, Manager: version.Server.Manager,
		Capabilities: version.Server.Capabilities, Names: version.Server.Names,
		FlavorID: flavorID, Flavor: flavor.Value, VolumeGB: volumeGB, Created: now, Updated: now,
		UsageTimeout: version.Server.UsageTimeout,
		Service:      datastores.Status{Service: datastores.StatusNew},
	}
	if req.Volume != nil {
		o.instance.VolumeType = req.Volume.Type
	}
	if req.Access != nil {
		o.instance.Public, o.instance.AllowedCIDRs = req.Access.IsPublic, req.Access.AllowedCIDRs
	}
	o.instance.Firewall = firewall(version.Server, o.instance.AllowedCIDRs)
	o.guest = version.Guest
	o.need = deployments.Capacity{MemoryMB: flavor.Value.RAM, VCPUs: flavor.Value.VCPUs, DiskGB: volumeGB}
	o.prepare, err = prepareArgs(o.instance, version.Guest, req)
	if err != nil {
		return o, err
	}
	if version.Server.RootOnCreate {
		o.password = newPassword()
		o.prepare.RootPassword = datastores.NewSecret(o.password)
		o.instance.RootEnabled, o.instance.RootEnabledAt, o.instance.RootEnabledBy = true, now, r.who.UserName
	}
	return o, nil
}

// notYet refuses what belongs to capabilities that no manager has so far.
func notYet(req createRequest) error {
	switch {
	case req.ReplicaOf != "", req.SlaveOf != "":
		return faultf(badRequest, "The datastore does not support replication.")
	case req.ReplicaCount != nil:
		return faultf(badRequest, "replica_count goes with replica_of.")
	case req.RestorePoint != nil:
		return faultf(notImplemented, "Restoring from a backup is not available yet.")
	case req.Configuration != nil:
		return faultf(notImplemented, "Configuration groups are not available yet.")
	case len(req.Modules) > 0:
		return faultf(notImplemented, "Modules are not available.")
	}
	return nil
}

func volumeSize(req createRequest, server datastores.ServerOptions) (int, error) {
	switch {
	case !server.VolumeSupport && req.Volume == nil:
		return 0, nil
	case !server.VolumeSupport:
		return 0, faultf(notImplemented, "The datastore version has no volume; leave instance['volume'] out.")
	case req.Volume == nil:
		return 0, faultf(badRequest, "A volume size is required: instance['volume']['size'], in GB.")
	}
	size, err := strconv.Atoi(string(req.Volume.Size))
	if err != nil || size < 1 {
		return 0, faultf(badRequest, "Validation error: instance['volume']['size'] %q is not a number of GB of 1 or more.", req.Volume.Size)
	}
	most := server.MaxVolumeSize
	if most == 0 {
		most = datastores.DefaultMaxVolumeSize
	}
	if size > most {
		return 0, faultf(overLimit, "A volume of %d GB is larger than the %d GB that this datastore version allows.", size, most)
	}
	return size, nil
}

func checkAccess(a *accessView) error {
	if a == nil {
		return nil
	}
	for i, s := range a.AllowedCIDRs {
		if _, err := netip.ParsePrefix(s); err != nil {
			if _, err := netip.ParseAddr(s); err != nil {
				return faultf(badRequest, "Validation error: access['allowed_cidrs'][%d] %q is not a CIDR such as 10.0.0.0/8.", i, s)
			}
		}
		if slices.Contains(a.AllowedCIDRs[:i], s) {
			return faultf(badRequest, "Validation error: access['allowed_cidrs'] holds %q twice.", s)
		}
	}
	return nil
}

// prepareArgs checks the databases and users of a create, with the rules of the calls that make them later.
func prepareArgs(in etcdschema.Instance, guest json.RawMessage, req createRequest) (datastores.PrepareArgs, error) {
	var args datastores.PrepareArgs
	if len(req.Databases) > 0 {
		if err := supports(in, method(datastores.MethodCreateDatabase)); err != nil {
			return args, err
		}
	}
	if len(req.Users) > 0 {
		if err := supports(in, method(datastores.MethodCreateUser)); err != nil {
			return args, err
		}
	}
	options, err := datastores.CommonOptions(guest)
	if err != nil {
		return args, err
	}
	if args.Databases, err = checkDatabases(req.Databases, in.Names, options); err != nil {
		return args, err
	}
	if args.Users, err = checkUsers(req.Users, in.Names, options); err != nil {
		return args, err
	}
	for _, u := range args.Users {
		for _, db := range u.Databases {
			if !slices.ContainsFunc(args.Databases, func(d datastores.Database) bool { return d.Name == db.Name }) {
				return args, faultf(badRequest, "The database %q of user %q is not among the databases of the request.", db.Name, u.Name)
			}
		}
	}
	return args, nil
}

func method(name string) datastores.Method {
	m, _ := datastores.LookupMethod(name)
	return m
}

// place finds a host and commits the create. When the instance has no host, because that was asked for or because there
// is none, it is stored all the same: waiting for its machine, or in ERROR with a fault that says why.
func (g *Gateway) place(r *request, o order, withoutHost bool) (etcdschema.Instance, string, error) {
	if withoutHost {
		if len(g.AgentURLs) == 0 {
			return o.instance, "", faultf(badRequest, "user_data: the gateway does not know under which URL machines reach it; start it with -agent-urls.")
		}
		token := agentpoll.NewSecret()
		in, err := g.commitCreate(r, o, "", token)
		return in, token, err
	}
	hosts, err := etcdschema.List(r.ctx, g.store, etcdschema.Hosts(), etcdschema.Page{})
	if err != nil {
		return o.instance, "", err
	}
	for _, host := range candidates(hosts.Records, o.instance.Manager, o.need) {
		in, err := g.commitCreate(r, o, host, "")
		if err != errHostFull {
			return in, "", err
		}
	}
	in, err := g.commitFailure(r, o, noHost(hosts.Records, o))
	return in, "", err
}

var errHostFull = fmt.Errorf("the host cannot take the instance")

// commitCreate stores the instance with its guest options, what it uses, and its first command, in one transaction.
func (g *Gateway) commitCreate(r *request, o order, hostID, token string) (etcdschema.Instance, error) {
	var after etcdschema.Instance
	refs := []etcdschema.Ref{etcdschema.UsageKey(r.project), etcdschema.QuotaKey(r.project)}
	if hostID != "" {
		refs = append(refs, etcdschema.HostKey(hostID), etcdschema.AgentKey(hostID), etcdschema.PresenceKey(hostID))
	}
	_, err := g.store.Update(r.ctx, refs, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		in := o.instance
		ops, err := g.charge(s, in)
		if err != nil {
			return nil, err
		}
		if hostID != "" {
			hostOp, err := g.allocate(s, &in, hostID, o.need)
			if err != nil {
				return nil, err
			}
			ops = append(ops, hostOp)
		} else {
			e := etcdschema.Enrolment{Kind: agentpoll.Guest, AgentID: in.ID, Project: in.Project, Created: in.Created}
			ops = append(ops, enrolmentOp(token, e, usageTimeout(in)))
		}
		raw, err := json.Marshal(sealable(o.prepare))
		if err != nil {
			return nil, err
		}
		in.Sealed = g.keys.seal(etcdschema.InstanceKey(in.Project, in.ID).String(), raw)
		guestKey := etcdschema.InstanceGuestKey(in.ID)
		ops = append(ops, etcdschema.Put(guestKey, o.guest))
		more, created, err := g.decide(etcdschema.With(s, guestKey, o.guest), in, lifecycle.Event{Type: lifecycle.Created, Request: r.id()})
		after = created
		return append(ops, more...), err
	})
	if err == nil {
		g.deadlines.set(after)
	}
	return after, err
}

// allocate gives the instance a part of the host and an address of it.
func (g *Gateway) allocate(s etcdschema.Snapshot, in *etcdschema.Instance, hostID string, need deployments.Capacity) (etcdschema.Op, error) {
	key := etcdschema.HostKey(hostID)
	rec, err := etcdschema.Read(s, key)
	if err != nil {
		return etcdschema.Op{}, err
	}
	presence, err := etcdschema.Read(s, etcdschema.PresenceKey(hostID))
	if err != nil {
		return etcdschema.Op{}, err
	}
	host := rec.Value
	address := freeAddress(host)
	if !rec.Found || address == "" || !canTake(host, in.Manager, need) || g.reachable(hostID, presence) != nil {
		return etcdschema.Op{}, errHostFull
	}
	if host.Allocated == nil {
		host.Allocated = map[string]etcdschema.Allocation{}
	}
	host.Allocated[in.ID] = etcdschema.Allocation{Capacity: need, Address: address, Project: in.Project}
	in.Host, in.Address = hostID, address
	return etcdschema.Put(key, host), nil
}

// commitFailure stores an instance that could not be placed, so that the tenant can read why.
func (g *Gateway) commitFailure(r *request, o order, why string) (etcdschema.Instance, error) {
	in := o.instance
	in.Failed = lifecycle.Create
	in.Fault = &etcdschema.Fault{Message: why, Created: in.Created}
	in.RootEnabled = false
	in.LastEvent = 1
	_, err := g.store.Update(r.ctx, []etcdschema.Ref{etcdschema.UsageKey(r.project), etcdschema.QuotaKey(r.project)}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		ops, err := g.charge(s, in)
		event := etcdschema.Event{At: in.Created, Kind: "fault", Message: why, Request: r.id()}
		return append(ops, etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in),
			etcdschema.Put(etcdschema.EventKey(in.ID, 1), event).For(keepEvents)), err
	})
	return in, err
}

// noHost says why no host could take the order, as far as it can be told to a tenant.
func noHost(hosts []etcdschema.Record[etcdschema.HostRecord], o order) string {
	var able, roomy int
	for _, h := range hosts {
		if starts(h.Value, o.instance.Manager) {
			able++
			if canTake(h.Value, o.instance.Manager, o.need) {
				roomy++
			}
		}
	}
	why := fmt.Sprintf("none of the %d with guests of manager %q has %d MB of memory, %d processors and %d GB of disk free", able, o.instance.Manager, o.need.MemoryMB, o.need.VCPUs, o.need.DiskGB)
	switch {
	case len(hosts) == 0:
		why = "no host has enrolled"
	case able == 0:
		why = fmt.Sprintf("none of the %d hosts has a guest binary %s-guest", len(hosts), o.instance.Manager)
	case roomy > 0:
		why = fmt.Sprintf("the %d that could are not connected, or have no address left", roomy)
	}
	return "No host can serve the instance: " + strings.TrimSpace(why) + "."
}

// userData writes the cloud-init user-data of a machine that becomes the instance.
func (g *Gateway) userData(in etcdschema.Instance, o order, token string) (string, error) {
	b, err := deployments.CloudInit(datastores.GuestConfig{
		InstanceID: in.ID, Gateways: g.AgentURLs, CA: g.AgentCA, Token: datastores.NewSecret(token),
		Dir: "/var/lib/coffer-guest", Root: "/", UID: -1, GID: -1, MemoryMB: in.Flavor.RAM,
	}, in.Manager)
	return string(b), err
}
