package gateway

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
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

	Configuration string `json:"configuration"` // id or href
	ReplicaOf     string `json:"replica_of"`
	SlaveOf       string `json:"slave_of"`
	ReplicaCount  *int   `json:"replica_count"`
	RestorePoint  *struct {
		BackupRef string `json:"backupRef"`
	} `json:"restorePoint"`
	Modules  []any  `json:"modules"`
	Locality string `json:"locality"`
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
	hosts    map[string]etcdschema.HostCheck // what they say of definitions
	beside   []string                        // hosts of the set that a replica joins, see hostsOfSet
}

// servedBy reports whether a host may have what is ordered: the locality of its set permits it, and the host can serve it as
// far as it has said.
func (o order) servedBy(host string) bool {
	taken := slices.Contains(o.beside, host)
	if len(o.beside) > 0 && (o.instance.Locality == affinity && !taken || o.instance.Locality == antiAffinity && taken) {
		return false
	}
	return o.hosts[host].Serves(deployments.Definition{Manager: o.instance.Manager, Image: o.instance.Image, Guest: o.guest})
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
	req.ReplicaOf = lastPart(cmp.Or(req.ReplicaOf, req.SlaveOf))
	if req.ReplicaOf != "" {
		return g.createReplicas(r, req)
	}
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
	if req.Volume != nil {
		if err := bounded("instance['volume']['type']", req.Volume.Type, maxContainer); err != nil {
			return o, err
		}
	}
	if err := checkExtras(req); err != nil {
		return o, err
	}
	restore, err := g.restorePoint(r, &req)
	if err != nil {
		return o, err
	}
	catalogue, err := g.settled(r.ctx)
	if err != nil {
		return o, err
	}
	version, err := chooseVersion(catalogue, req.Datastore.Type, req.Datastore.Version)
	if err != nil {
		return o, err
	}
	if version.Unserved != "" && !req.UserData {
		return o, cannotBeHad(version)
	}
	o.hosts = catalogue.Hosts
	flavorID := lastPart(string(req.FlavorRef))
	if flavorID == "" {
		return o, faultf(badRequest, "Validation error: instance['flavorRef'] is required; GET flavors lists what there is.")
	}
	flavor, err := etcdschema.Get(r.ctx, g.store, etcdschema.FlavorKey(flavorID))
	if err != nil {
		if isNotFound(err) {
			err = faultf(badRequest, "Flavor %s cannot be found; GET flavors lists what there is.", flavorID)
		}
		return o, err
	}
	volumeGB, err := volumeSize(req, version.Server)
	if err != nil {
		return o, err
	}
	if err := restore.fits(version, volumeGB); err != nil {
		return o, err
	}
	configuration, err := g.configurationFor(r, req.Configuration, version)
	if err != nil {
		return o, err
	}
	now := g.now().UTC()
	o.instance = etcdschema.Instance{
		ID: newID(), Project: r.project, Name: req.Name, Datastore: version.Datastore, Version: version.Name,
		VersionNumber: version.Server.VersionNumber, Manager: version.Server.Manager, Image: version.Server.Image,
		Capabilities: version.Server.Capabilities, Names: version.Server.Names, UsersPerServer: version.Server.UsersPerServer,
		FlavorID: flavorID, Flavor: flavor.Value, VolumeGB: volumeGB, Created: now, Updated: now,
		UsageTimeout: version.Server.UsageTimeout, Configuration: configuration.ID, Restore: restore.chain,
		Service: datastores.Status{Service: datastores.StatusNew}, Locality: req.Locality,
	}
	if req.Volume != nil {
		o.instance.VolumeType = req.Volume.Type
	}
	o.instance.Firewall = firewall(version.Server)
	if req.Access != nil {
		if err := restrict(&o.instance, *req.Access, false); err != nil {
			return o, err
		}
	}
	o.guest = version.Guest
	o.need = needOf(o.instance)
	o.prepare, err = prepareArgs(o.instance, version.Guest, req)
	if err != nil {
		return o, err
	}
	if err := version.Server.Names.CheckFolded(o.prepare.Databases, configuration.Values); err != nil {
		return o, faultf(badRequest, "Validation error: %v.", err)
	}
	if version.Server.RootOnCreate {
		o.password = newPassword()
		o.prepare.RootPassword = datastores.NewSecret(o.password)
		o.instance.RootEnabled, o.instance.RootEnabledAt, o.instance.RootEnabledBy = true, now, r.who.UserName
	}
	return o, nil
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
	if args.Databases, err = checkDatabases(req.Databases, nameRules{in.Names, options}); err != nil {
		return args, err
	}
	if args.Users, err = checkUsers(req.Users, nameRules{in.Names, options}, checkNewUser); err != nil {
		return args, err
	}
	made := map[string]bool{}
	for _, db := range args.Databases {
		made[db.Name] = true
	}
	for _, u := range args.Users {
		for _, db := range u.Databases {
			if !made[db.Name] {
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
