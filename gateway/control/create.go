package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// restoring is what a new instance begins with; the zero value is nothing.
type restoring struct {
	backup etcdschema.Backup
	chain  []string // ids, the full backup first
	replay *etcdschema.Replay
}

// restorePoint finds the backup that a create begins with. Its datastore version is the default of the request's.
func (cp *Plane) restorePoint(ctx context.Context, c Caller, req *CreateRequest) (restoring, error) {
	var point restoring
	if req.RestorePoint == nil {
		return point, nil
	}
	if point.replay = req.RestorePoint.Replay; point.replay == nil && req.RestorePoint.Instance != "" {
		return point, fault.Errorf(fault.BadRequest, "Validation error: restorePoint['instance_id'] cannot be asked for here.")
	}
	id := LastPart(req.RestorePoint.BackupRef)
	if id == "" {
		return point, fault.Errorf(fault.BadRequest, "Validation error: restorePoint['backupRef'] must be the id of a backup.")
	}
	var err error
	if point.backup, err = cp.FindGranted(ctx, c, req.RestorePoint.Project, id); err != nil {
		return point, err
	}
	owner := Caller{Project: point.backup.Project}
	if point.chain, err = cp.chainOf(ctx, owner, point.backup); err != nil {
		return point, err
	}
	if owner.Project != c.Project {
		for i, id := range point.chain {
			point.chain[i] = owner.Project + "/" + id
		}
	}
	if req.Datastore.Type == "" && req.Datastore.Version == "" {
		req.Datastore.Type, req.Datastore.Version = point.backup.Datastore, point.backup.Version
	}
	return point, nil
}

// chainOf finds the backups that it takes to restore one, the full one first.
func (cp *Plane) chainOf(ctx context.Context, c Caller, b etcdschema.Backup) (ids []string, err error) {
	for {
		if b.Status != etcdschema.BackupCompleted {
			return nil, fault.Errorf(fault.Conflict, "Backup %s is not complete (%s).", b.BackupID, b.Status)
		}
		ids = append(ids, b.BackupID)
		if b.Parent == "" {
			slices.Reverse(ids)
			return ids, nil
		}
		if b, err = cp.FindBackup(ctx, c, b.Parent); err != nil {
			return nil, err
		}
	}
}

// fits refuses another datastore version than the backup's, and a volume that is too small for it.
func (p restoring) fits(version etcdschema.Version, volumeGB int) error {
	b := p.backup
	switch {
	case len(p.chain) == 0:
		return nil
	case b.Datastore != version.Datastore || b.Version != version.Name && !p.loadsInto(version):
		return fault.Errorf(fault.BadRequest, "Backup %s is of %s %s and cannot be restored as %s %s. %s", b.BackupID, b.Datastore, b.Version, version.Datastore, version.Name, p.advice(version))
	case volumeGB > 0 && b.Largest() > int64(volumeGB)<<30:
		return fault.Errorf(fault.Forbidden, "Backup %s needs %.1f GB, more than a volume of %d GB.", b.BackupID, float64(b.Largest())/(1<<30), volumeGB)
	}
	return nil
}

// advice is what can be done about a backup that a version does not take.
func (p restoring) advice(version etcdschema.Version) string {
	b := p.backup
	order := datastores.CompareVersions(cmp.Or(version.Server.VersionNumber, version.Name), cmp.Or(b.VersionNumber, b.Version))
	switch {
	case b.Manager != version.Server.Manager:
		return "Restore it as what it is of, and load a dump of that."
	case order < 0:
		return fmt.Sprintf("An older version reads neither its files nor its dumps: restore it as %s, and load a dump of your own.", b.Version)
	}
	advice := fmt.Sprintf("What %s made are the files of that version: restore it as %s, and upgrade the instance then.", b.Strategy, b.Version)
	for _, s := range version.Server.BackupStrategies {
		if s.Logical {
			return advice + fmt.Sprintf(" A backup by %s would be taken by newer versions, too.", s.StrategyName)
		}
	}
	return advice
}

// loadsInto reports whether a newer version takes the backup over, by the strategy that made it: of what an engine's own tool made alone nobody knows the version.
func (p restoring) loadsInto(version etcdschema.Version) bool {
	b := p.backup
	return b.Manager == version.Server.Manager && datastores.CompareVersions(cmp.Or(version.Server.VersionNumber, version.Name), cmp.Or(b.VersionNumber, b.Version)) >= 0 &&
		slices.ContainsFunc(version.Server.BackupStrategies, func(s datastores.Strategy) bool {
			return (s.Logical || s.Upgrades && len(b.Meta) > 0) && s.StrategyName == b.Strategy
		})
}

// CreateRequest is the body of POST instances.
type CreateRequest struct {
	Name      string         `json:"name"`
	FlavorRef StringOrID     `json:"flavorRef"`
	Volume    *VolumeRequest `json:"volume"`
	Datastore struct {
		Type          string `json:"type"`
		Version       string `json:"version"`
		VersionNumber string `json:"version_number"`
	} `json:"datastore"`
	Databases []DatabaseBody  `json:"databases"`
	Users     []UserBody      `json:"users"`
	Access    *Access         `json:"access"`
	Nics      json.RawMessage `json:"nics"` // accepted and left to the host: there are no networks to choose from
	// UserData asks for an instance without a host: the answer carries the cloud-init user-data of a machine to boot.
	UserData bool `json:"user_data"`

	Configuration string        `json:"configuration"` // id or href
	ReplicaOf     string        `json:"replica_of"`
	SlaveOf       string        `json:"slave_of"`
	ReplicaCount  *int          `json:"replica_count"`
	RestorePoint  *RestorePoint `json:"restorePoint"`
	// PITR has its log be shipped. Trove has nothing like it.
	PITR     *PITR       `json:"pitr"`
	Modules  []ModuleRef `json:"modules"`
	Locality string      `json:"locality"`
	Zone     string      `json:"availability_zone"`
	// Protected: it cannot be deleted. Trove has nothing like it.
	Protected bool   `json:"deletion_protection"`
	Region    string `json:"region_name"` // "": the gateway's own; package api refuses another
	// DrillOf has it be a drill of that instance, which is made on a host or not at all. Also adds to the transaction, or refuses it.
	DrillOf string                                                                  `json:"-"`
	Also    func(etcdschema.Snapshot, etcdschema.Instance) ([]etcdschema.Op, error) `json:"-"`
	// With chooses the modules that the instance begins with, of those of the request and others. nil: none.
	With func(etcdschema.Instance, etcdschema.Version) ([]etcdschema.AppliedModule, error) `json:"-"`
}

// VolumeRequest is the volume of a create.
type VolumeRequest struct {
	Size StringOrID `json:"size"`
	Type string     `json:"type"`
}

// RestorePoint is what an instance begins with: a backup, or what another instance was at a time or a position of its log.
type RestorePoint struct {
	BackupRef string `json:"backupRef"`
	Project   string `json:"project_id"` // whose backup it is; "": the caller's own
	Instance  string `json:"instance_id"`
	Time      string `json:"time"` // RFC 3339
	Position  string `json:"position"`
	// Replay is found by package pitr, with the backup to begin with.
	Replay *etcdschema.Replay `json:"-"`
}

// PITR says whether an instance's log is shipped, and how far that may be behind.
type PITR struct {
	Enabled bool `json:"enabled"`
	RPO     *int `json:"rpo"` // seconds; nil: the default
}

// DefaultRPO is how far a shipped log may be behind that nobody has said anything of, in seconds.
const DefaultRPO = 30

// Seconds is the RPO that is asked for; 0: nothing is to be shipped.
func (p *PITR) Seconds() (int, error) {
	switch {
	case p == nil || !p.Enabled:
		return 0, nil
	case p.RPO == nil:
		return DefaultRPO, nil
	case *p.RPO < 3 || *p.RPO > 3600:
		return 0, fault.Errorf(fault.BadRequest, "Validation error: pitr['rpo'] must be from 3 to 3600 seconds.")
	}
	return *p.RPO, nil
}

// ModuleRef names a module that an instance is to have.
type ModuleRef struct {
	ID string `json:"id"`
}

// StringOrID is a JSON string or number, as clients send flavors and sizes.
type StringOrID string

func (s *StringOrID) UnmarshalJSON(b []byte) error {
	var n json.Number
	if len(b) > 0 && b[0] != '"' {
		if err := json.Unmarshal(b, &n); err != nil {
			return fault.Errorf(fault.BadRequest, "Validation error: want a string or a number, not %s.", b)
		}
		*s = StringOrID(n)
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
	version  etcdschema.Version
	hosts    map[string]etcdschema.HostCheck                                         // what they say of definitions
	source   string                                                                  // of a replica: which instance it is to follow
	backup   etcdschema.Backup                                                       // that it begins with; the zero one: none
	restores [][]string                                                              // of a cluster: what its first members begin with
	beside   []string                                                                // hosts of the set that a replica joins, see hostsBeside
	also     func(etcdschema.Snapshot, etcdschema.Instance) ([]etcdschema.Op, error) // see CreateRequest; nil: nothing
	walled   bool                                                                    // its host must be able to filter, whoever may reach it
}

// Created is a new instance, and what its client is told once.
type Created struct {
	Instance lifecycle.Member
	Password string // of root; "": there is none
	UserData string // of cloud-init, for the machine that becomes the instance; "": it has a host
}

// Create makes an instance, or replicas of one: then it returns the first.
func (cp *Plane) Create(ctx context.Context, c Caller, req CreateRequest) (made Created, err error) {
	req.ReplicaOf = LastPart(cmp.Or(req.ReplicaOf, req.SlaveOf))
	if req.ReplicaOf != "" {
		made.Instance, err = cp.createReplicas(ctx, c, req)
		return made, err
	}
	o, err := cp.order(ctx, c, req)
	if err == nil && len(o.backup.Parts) > 0 {
		err = fault.Errorf(fault.BadRequest, "Backup %s is of a cluster of %d shards: POST clusters with it as restorePoint makes one.", o.backup.BackupID, 1+len(o.backup.Parts))
	}
	if err != nil {
		return made, err
	}
	in, token, err := cp.place(ctx, c, o, req.UserData)
	if err != nil {
		return made, err
	}
	made = Created{Instance: in, Password: o.password}
	if req.UserData {
		made.UserData, err = cp.userData(in.Instance, o, token)
	}
	return made, err
}

// order checks a create against everything but the hosts and the quota.
func (cp *Plane) order(ctx context.Context, c Caller, req CreateRequest) (order, error) {
	var o order
	if !ValidName(req.Name) {
		return o, fault.Errorf(fault.BadRequest, "Validation error: instance['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	if req.Volume != nil {
		if err := limits.Bounded("instance['volume']['type']", req.Volume.Type, limits.MaxContainer); err != nil {
			return o, err
		}
	}
	if err := checkExtras(req); err != nil {
		return o, err
	}
	restore, err := cp.restorePoint(ctx, c, &req)
	if err != nil {
		return o, err
	}
	catalogue, err := cp.Settled(ctx)
	if err != nil {
		return o, err
	}
	version, err := chooseVersion(catalogue, req.Datastore.Type, req.Datastore.Version)
	if err != nil {
		return o, err
	}
	if number := cmp.Or(version.Server.VersionNumber, version.Name); req.Datastore.VersionNumber != "" && req.Datastore.VersionNumber != number {
		return o, fault.Errorf(fault.BadRequest, "Version %s of datastore %s has the number %s, not %s; GET datastores lists what there is.", version.Name, version.Datastore, number, limits.Shortened(req.Datastore.VersionNumber))
	}
	if version.Unserved != "" && !req.UserData {
		return o, cannotBeHad(version)
	}
	o.hosts = catalogue.Hosts
	flavorID := LastPart(string(req.FlavorRef))
	if flavorID == "" {
		return o, fault.Errorf(fault.BadRequest, "Validation error: instance['flavorRef'] is required; GET flavors lists what there is.")
	}
	flavor, err := cp.flavor(ctx, flavorID)
	if err != nil {
		return o, err
	}
	volumeGB, err := volumeSize(req, version.Server)
	if err != nil {
		return o, err
	}
	if err := restore.fits(version, volumeGB); err != nil {
		return o, err
	}
	configuration, err := cp.configurationFor(ctx, c, req.Configuration, version)
	if err != nil {
		return o, err
	}
	now := cp.Now().UTC()
	o.instance = etcdschema.Instance{
		ID: plan.NewID(), Project: c.Project, Name: req.Name, Datastore: version.Datastore, Version: version.Name,
		VersionNumber: version.Server.VersionNumber, Manager: version.Server.Manager, Image: version.Server.Image,
		Capabilities: version.Server.Capabilities, Names: version.Server.Names, UsersPerServer: version.Server.UsersPerServer,
		FlavorID: flavorID, Flavor: flavor, VolumeGB: volumeGB, Created: now, Updated: now,
		UsageTimeout: version.Server.UsageTimeout, Configuration: configuration.ID, Restore: restore.chain, Replay: restore.replay,
		Service: datastores.Status{Service: datastores.StatusNew}, Locality: req.Locality, Zone: req.Zone, Protected: req.Protected, DrillOf: req.DrillOf,
	}
	o.also, o.backup = req.Also, restore.backup
	if req.With != nil {
		if o.instance.Modules, err = req.With(o.instance, version); err != nil {
			return o, err
		}
	}
	if req.Volume != nil {
		o.instance.VolumeType = req.Volume.Type
	}
	if o.instance.RPO, err = req.PITR.Seconds(); err == nil && o.instance.RPO > 0 {
		err = cp.MayReplay(ctx, o.instance)
	}
	if err != nil {
		return o, err
	}
	o.instance.Firewall = firewall(version.Server)
	if err := restrict(&o.instance, accessOf(req.Access, version.Server), false); err != nil {
		return o, err
	}
	o.guest, o.version = version.Guest, version
	o.need = plan.NeedOf(o.instance)
	o.prepare, err = prepareArgs(o.instance, version.Guest, req)
	if err != nil {
		return o, err
	}
	if err := version.Server.Names.CheckFolded(o.prepare.Databases, configuration.Values); err != nil {
		return o, fault.Errorf(fault.BadRequest, "Validation error: %v.", err)
	}
	if version.Server.RootOnCreate && req.DrillOf == "" {
		o.password = plan.NewPassword()
		o.prepare.RootPassword = datastores.NewSecret(o.password)
		o.instance.RootEnabled, o.instance.RootEnabledAt, o.instance.RootEnabledBy = true, now, c.Who.UserName
	}
	return o, nil
}

func volumeSize(req CreateRequest, server datastores.ServerOptions) (int, error) {
	switch {
	case !server.VolumeSupport && req.Volume == nil:
		return 0, nil
	case !server.VolumeSupport:
		return 0, fault.Errorf(fault.NotImplemented, "The datastore version has no volume; leave instance['volume'] out.")
	case req.Volume == nil:
		return 0, fault.Errorf(fault.BadRequest, "A volume size is required: instance['volume']['size'], in GB.")
	}
	size, err := strconv.Atoi(string(req.Volume.Size))
	if err != nil || size < 1 {
		return 0, fault.Errorf(fault.BadRequest, "Validation error: instance['volume']['size'] %q is not a number of GB of 1 or more.", req.Volume.Size)
	}
	most := server.MaxVolumeSize
	if most == 0 {
		most = datastores.DefaultMaxVolumeSize
	}
	if size > most {
		return 0, fault.Errorf(fault.OverLimit, "A volume of %d GB is larger than the %d GB that this datastore version allows.", size, most)
	}
	return size, nil
}

// prepareArgs checks the databases and users of a create, with the rules of the calls that make them later.
func prepareArgs(in etcdschema.Instance, guest json.RawMessage, req CreateRequest) (datastores.PrepareArgs, error) {
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
	if args.Databases, err = CheckDatabases(req.Databases, NameRules{in.Names, options}); err != nil {
		return args, err
	}
	if args.Users, err = CheckUsers(req.Users, NameRules{in.Names, options}, CheckNewUser); err != nil {
		return args, err
	}
	made := map[string]bool{}
	for _, db := range args.Databases {
		made[db.Name] = true
	}
	for _, u := range args.Users {
		for _, db := range u.Databases {
			if !made[db.Name] {
				return args, fault.Errorf(fault.BadRequest, "The database %q of user %q is not among the databases of the request.", db.Name, u.Name)
			}
		}
	}
	return args, nil
}

func method(name string) datastores.Method {
	m, _ := datastores.LookupMethod(name)
	return m
}
