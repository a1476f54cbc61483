package control

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Backups reads all that are there.
func (cp *Plane) Backups(ctx context.Context, from etcdschema.Prefix[etcdschema.Backup]) ([]etcdschema.Backup, error) {
	list, err := etcdschema.List(ctx, cp.Store, from, etcdschema.Page{})
	if err != nil {
		return nil, err
	}
	var there []etcdschema.Backup
	for _, rec := range list.Records {
		if !rec.Value.Deleting && rec.Value.PartOf == "" {
			there = append(there, rec.Value)
		}
	}
	return there, nil
}

// FindBackup reads the backup of an id.
func (cp *Plane) FindBackup(ctx context.Context, c Caller, id string) (etcdschema.Backup, error) {
	rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.BackupKey(c.Project, id))
	if fault.IsNotFound(err) || err == nil && (rec.Value.Deleting || rec.Value.PartOf != "") {
		return rec.Value, fault.NotFound("Backup", id)
	}
	return rec.Value, err
}

type BackupRequest struct {
	Name        string `json:"name"`
	Instance    string `json:"instance"` // or a cluster
	Description string `json:"description"`
	ParentID    string `json:"parent_id"`
	Incremental Bit    `json:"incremental"`
	Container   string `json:"swift_container"`
	// RestoreFrom asks for a backup that is brought in, which is package transfer's.
	RestoreFrom   *RestoreFrom `json:"restore_from"`
	StorageDriver string       `json:"storage_driver"`
	Schedule      string       `json:"-"` // id of the schedule that asks for it; "": a client does
	Last          bool         `json:"-"` // the instance is deleted when it is complete
}

// RestoreFrom says of what a backup is that is brought in. The first three are Trove's; a manifest of an export has all others.
type RestoreFrom struct {
	RemoteLocation string            `json:"remote_location,omitempty"`
	VersionID      string            `json:"local_datastore_version_id,omitempty"`
	Size           float64           `json:"size"` // GB of data on a volume
	Datastore      string            `json:"datastore,omitempty"`
	Version        string            `json:"datastore_version,omitempty"`
	Strategy       string            `json:"strategy,omitempty"` // "": the version's own; with or without its namespace
	Bytes          int64             `json:"bytes,omitempty"`    // of the stream; 0: nobody knows
	Meta           json.RawMessage   `json:"meta,omitempty"`     // the strategy's own
	Fixed          datastores.Values `json:"fixed,omitzero"`     // see datastores.BackupRef
	Tool           string            `json:"tool,omitempty"`     // the engine's own program that has made it, in place of a strategy
}

// NewBackup has an instance's guest, or members of a cluster, begin a backup. Each of also adds to the transaction, or refuses it.
func (cp *Plane) NewBackup(ctx context.Context, c Caller, req BackupRequest, also ...func(*plan.Plan, etcdschema.Backup) error) (etcdschema.Backup, error) {
	b, err := cp.orderBackup(ctx, c, req)
	if fault.IsNotFound(err) {
		if cluster, none := cp.FindCluster(ctx, c.Project, LastPart(req.Instance)); none == nil {
			return cp.backUpCluster(ctx, c, req, cluster, also...)
		}
	}
	if err != nil {
		return b, err
	}
	replays := b.Log != nil
	event := lifecycle.Event{Type: lifecycle.AskBackup, Backup: b.BackupID, Last: req.Last, Request: c.Request, By: c.Who.UserName}
	_, err = cp.transition(ctx, c.Project, b.Instance, event, func(p *plan.Plan) error {
		if req.Last {
			if err := lifecycle.MayDelete(p.Before); err != nil {
				return err
			}
		}
		if err := cp.reachable(p.Snap, p.Before.ID); err != nil {
			return err
		}
		b.Held = plan.SegmentSize
		if replays {
			if b.Log, err = markOf(p.Snap, p.Before.Instance); err != nil {
				return err
			}
		}
		used, err := cp.Account(p.Snap, c.Project, func(u etcdschema.Usage) etcdschema.Usage {
			u.Backups++
			u.BackupBytes += b.Held
			return u
		})
		if err != nil {
			return err
		}
		joined, err := plan.JoinParent(p.Snap, p.Before.Instance, b)
		key := etcdschema.BackupKey(c.Project, b.BackupID)
		p.Snap = etcdschema.With(p.Snap, key, b)
		p.Put(append(slices.Concat(used, joined), etcdschema.Put(key, b))...)
		for _, f := range also {
			err = cmp.Or(err, f(p, b))
		}
		return err
	})
	return b, err
}

// markOf is where in the shipped log of its instance a backup begins that is made now; nil: it is not shipped.
func markOf(s etcdschema.Snapshot, in etcdschema.Instance) (*etcdschema.LogMark, error) {
	if in.RPO == 0 {
		return nil, nil
	}
	rec, err := etcdschema.Read(s, etcdschema.ArchiveKey(in.Project, in.ID))
	w := rec.Value.Open()
	if err != nil || w == nil || w.From.IsZero() {
		return nil, err
	}
	return &etcdschema.LogMark{Window: w.ID, After: w.Last, Bytes: w.Bytes}, nil
}

// MayReplay refuses an instance whose log cannot be replayed on its backups.
func (cp *Plane) MayReplay(ctx context.Context, in etcdschema.Instance) error {
	if err := supports(in, method(datastores.MethodShipLog)); err != nil {
		return err
	}
	strategies, err := cp.strategiesOf(ctx, in)
	if err == nil && !strategies.replays() {
		var able []string
		for _, s := range strategies.all {
			if s.Replays {
				able = append(able, s.Name)
			}
		}
		err = fault.Errorf(fault.NotImplemented, "The log of %s %s cannot be replayed on what the strategy %s makes. An operator can set backup_strategy in its definition to one of: %s.",
			in.Datastore, in.Version, strategies.chosen, strings.Join(able, ", "))
	}
	return err
}

// MayBackUp refuses an instance that can never be backed up as it is, or not incrementally.
func (cp *Plane) MayBackUp(ctx context.Context, in etcdschema.Instance, incrementally bool) error {
	strategies, err := cp.strategiesOf(ctx, in)
	if err != nil || !incrementally {
		return err
	}
	if !slices.ContainsFunc(strategies.all, func(d datastores.Strategy) bool { return d.Name == strategies.chosen && d.Incremental }) {
		return fault.Errorf(fault.NotImplemented, "The strategy %s of %s %s makes no incremental backups.", strategies.chosen, in.Datastore, in.Version)
	}
	return nil
}

// ErrNoStore refuses what needs a store for backups.
var ErrNoStore = fault.Errorf(fault.NotImplemented, "This gateway has no store for backups; its operator sets -backup-dir or -s3-endpoint.")

// orderBackup checks a request against everything but the instance's state and the quota.
func (cp *Plane) orderBackup(ctx context.Context, c Caller, req BackupRequest) (etcdschema.Backup, error) {
	var b etcdschema.Backup
	switch {
	case !ValidName(req.Name):
		return b, fault.Errorf(fault.BadRequest, "Validation error: backup['name'] must be a string of 1 to 255 characters with a letter or digit.")
	case len(req.Description) > limits.MaxDescription || limits.HasControl(req.Description):
		return b, limits.Bounded("backup['description']", req.Description, limits.MaxDescription)
	case req.Instance == "":
		return b, fault.Errorf(fault.BadRequest, "Validation error: backup['instance'] is required: the id of the instance, or of the cluster, to back up.")
	}
	id := LastPart(req.Instance)
	rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.InstanceKey(c.Project, id))
	if err != nil {
		return b, instanceError(err, id)
	}
	in := rec.Value
	strategies, err := cp.strategiesOf(ctx, in)
	if err != nil {
		return b, err
	}
	container, err := cp.ContainerFor(ctx, c, req.Container, in.ID)
	if err != nil {
		return b, err
	}
	now := cp.Now().UTC()
	b = etcdschema.Backup{
		BackupRef: datastores.BackupRef{BackupID: plan.NewID(), Strategy: datastores.StrategyName{Name: strategies.chosen}},
		Project:   c.Project, Name: req.Name, Description: req.Description, Instance: in.ID, Datastore: in.Datastore, Version: in.Version,
		VersionNumber: in.VersionNumber, Manager: in.Manager, Container: container, Schedule: req.Schedule, Status: etcdschema.BackupNew, Created: now, Updated: now,
	}
	if strategies.replays() {
		b.Log = &etcdschema.LogMark{} // see markOf
	}
	parent, err := cp.parentOf(ctx, c, req, in, strategies)
	if err != nil || parent.BackupID == "" {
		return b, err
	}
	chain, err := cp.chainOf(ctx, c, parent)
	if err == nil && len(chain) >= maxFamily {
		err = fault.Errorf(fault.Unprocessable, "Backup %s is the last of %d that build on each other; begin again with a full backup.", parent.BackupID, len(chain))
	}
	b.Parent, b.Strategy = parent.BackupID, parent.Strategy
	return b, err
}

// backupStrategies are those of a datastore version: which is chosen, and what each can do.
type backupStrategies struct {
	chosen string
	all    []datastores.Strategy
}

// strategiesOf reads them from the definition in force, so that an operator's change takes effect with the next backup. It refuses an instance
// that cannot be backed up at all.
func (cp *Plane) strategiesOf(ctx context.Context, in etcdschema.Instance) (backupStrategies, error) {
	if err := supports(in, method(datastores.MethodCreateBackup)); err != nil {
		return backupStrategies{}, err
	}
	if cp.Blobs == nil {
		return backupStrategies{}, ErrNoStore
	}
	catalogue, err := cp.Catalogue(ctx)
	if err != nil {
		return backupStrategies{}, err
	}
	v, ok := catalogue.FindVersion(in.Datastore, in.Version)
	switch {
	case !ok:
		return backupStrategies{}, nil // withdrawn; the guest knows its own
	case v.Server.BackupStrategy == "":
		return backupStrategies{}, fault.Errorf(fault.NotImplemented, "Backups of %s %s are turned off: its definition has no backup_strategy.", in.Datastore, in.Version)
	}
	return backupStrategies{v.Server.BackupStrategy, v.Server.BackupStrategies}, nil
}

// replays reports whether the log can be replayed on what the chosen strategy makes.
func (s backupStrategies) replays() bool {
	return slices.ContainsFunc(s.all, func(d datastores.Strategy) bool { return d.Name == s.chosen && d.Replays })
}

func (s backupStrategies) incremental(name datastores.StrategyName) bool {
	return slices.ContainsFunc(s.all, func(d datastores.Strategy) bool { return d.StrategyName == name && d.Incremental })
}

// parentOf finds the backup to build on: the one named, or for an incremental one without a name the newest that can be.
func (cp *Plane) parentOf(ctx context.Context, c Caller, req BackupRequest, in etcdschema.Instance, strategies backupStrategies) (etcdschema.Backup, error) {
	var none etcdschema.Backup
	if req.ParentID != "" {
		parent, err := cp.FindBackup(ctx, c, req.ParentID)
		if err == nil {
			err = plan.MayBeParent(parent, in)
		}
		if err == nil && !strategies.incremental(parent.Strategy) {
			err = fault.Errorf(fault.NotImplemented, "The strategy %s makes no incremental backups.", parent.Strategy)
		}
		return parent, err
	}
	if !bool(req.Incremental) {
		return none, nil
	}
	all, err := cp.Backups(ctx, etcdschema.Backups(c.Project))
	for _, b := range all {
		if plan.MayBeParent(b, in) == nil && strategies.incremental(b.Strategy) && b.Updated.After(none.Updated) {
			none = b
		}
	}
	return none, err
}

// Bit is Trove's boolean_string: the integer 0 or 1. JSON's own are taken, too.
type Bit bool

func (f *Bit) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "0", "false", "null":
		*f = false
	case "1", "true":
		*f = true
	default:
		return fault.Errorf(fault.BadRequest, "Validation error: want 0 or 1, not %s.", b)
	}
	return nil
}

var containerName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}$`)

func checkContainer(name string) error {
	if !containerName.MatchString(name) {
		return fault.Errorf(fault.BadRequest, "Validation error: swift_container %q must be 1 to 63 of A-Z a-z 0-9 . _ - and not begin with a dot.", name)
	}
	return nil
}

// ContainerFor is where a backup goes: what the request says, else its instance's strategy, else the project's.
func (cp *Plane) ContainerFor(ctx context.Context, c Caller, asked, instance string) (string, error) {
	if asked != "" {
		return asked, checkContainer(asked)
	}
	for _, of := range []string{instance, ""} {
		rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.BackupStrategyKey(c.Project, of))
		if err == nil {
			return rec.Value.Container, nil
		}
		if !fault.IsNotFound(err) {
			return "", err
		}
	}
	return plan.DefaultContainer, nil
}

// BackupStrategyRequest says into which container backups go: an instance's, or with "" the project's.
type BackupStrategyRequest struct{ Container, Instance string }

// SetContainer says where backups of an instance or of the project go from now on.
func (cp *Plane) SetContainer(ctx context.Context, c Caller, want BackupStrategyRequest) error {
	if err := checkContainer(want.Container); err != nil {
		return err
	}
	if want.Instance != "" {
		if _, err := etcdschema.Get(ctx, cp.Store, etcdschema.InstanceKey(c.Project, want.Instance)); err != nil {
			return instanceError(err, want.Instance)
		}
	}
	key := etcdschema.BackupStrategyKey(c.Project, want.Instance)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Put(key, etcdschema.BackupStrategy{Container: want.Container})}, nil
	})
	return err
}

// UnsetContainer forgets what was said of an instance, or with "" of the project.
func (cp *Plane) UnsetContainer(ctx context.Context, project, instance string) error {
	key := etcdschema.BackupStrategyKey(project, instance)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Delete(key)}, nil
	})
	return err
}

// maxGrants is to how many projects a backup can be granted.
const maxGrants = 32

// FindGranted reads a backup of the caller's project, or with another project's name one that this has granted to it. Whatever is not granted is
// not there.
func (cp *Plane) FindGranted(ctx context.Context, c Caller, project, id string) (etcdschema.Backup, error) {
	if project == "" || project == c.Project {
		return cp.FindBackup(ctx, c, id)
	}
	none := fault.NotFound("Backup", id)
	if !etcdschema.ValidName(project) || !etcdschema.ValidID(id) {
		return etcdschema.Backup{}, none
	}
	b, err := cp.FindBackup(ctx, Caller{Project: project}, id)
	if err == nil && !b.GrantedTo(c.Project) {
		return etcdschema.Backup{}, none
	}
	return b, err
}

// Grant lets another project restore a backup with all that it builds on. Once is enough, twice is no error.
func (cp *Plane) Grant(ctx context.Context, c Caller, id, project string) (grant etcdschema.Grant, err error) {
	if !etcdschema.ValidName(project) || project == c.Project {
		return grant, fault.Errorf(fault.BadRequest, "Validation error: grant['project_id'] must be the id of another project.")
	}
	err = cp.ChangeBackup(ctx, c.Project, id, func(_ etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
		if i := slices.IndexFunc(b.Grants, func(g etcdschema.Grant) bool { return g.Project == project }); i >= 0 {
			grant = b.Grants[i]
			return nil, nil
		}
		if len(b.Parts) > 0 {
			return nil, fault.Errorf(fault.NotImplemented, "Backup %s is of a cluster with shards, whose backups cannot be granted.", id)
		}
		if len(b.Grants) >= maxGrants {
			return nil, fault.Errorf(fault.Unprocessable, "Backup %s is granted to %d projects, which is the most; revoke a grant first.", id, maxGrants)
		}
		grant = etcdschema.Grant{Project: project, By: c.Who.UserName, At: cp.Now().UTC()}
		b.Grants = append(slices.Clone(b.Grants), grant)
		return nil, nil
	})
	return grant, err
}

// Revoke takes a grant back. A restore that goes on reads no more of the backup, and fails.
func (cp *Plane) Revoke(ctx context.Context, c Caller, id, project string) error {
	return cp.ChangeBackup(ctx, c.Project, id, func(_ etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
		if !b.GrantedTo(project) {
			return nil, fault.NotFound("Grant", project)
		}
		b.Grants = slices.DeleteFunc(slices.Clone(b.Grants), func(g etcdschema.Grant) bool { return g.Project == project })
		return nil, nil
	})
}

// ChangeBackup decides over a backup of a project that is not being deleted, and writes it with what decide adds.
func (cp *Plane) ChangeBackup(ctx context.Context, project, id string, decide func(etcdschema.Snapshot, *etcdschema.Backup) ([]etcdschema.Op, error)) error {
	key := etcdschema.BackupKey(project, id)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err == nil && (rec.Value.Deleting || rec.Value.PartOf != "") {
			rec.Found = false
		}
		b, err := fault.Found(rec, err, "Backup", id)
		if err != nil {
			return nil, err
		}
		ops, err := decide(s, &b)
		if err != nil {
			return nil, err
		}
		return append(ops, etcdschema.Put(key, b)), nil
	})
	return err
}
