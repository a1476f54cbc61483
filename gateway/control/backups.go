package control

import (
	"cmp"
	"context"
	"regexp"
	"slices"

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
		if !rec.Value.Deleting {
			there = append(there, rec.Value)
		}
	}
	return there, nil
}

// FindBackup reads the backup of an id.
func (cp *Plane) FindBackup(ctx context.Context, c Caller, id string) (etcdschema.Backup, error) {
	rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.BackupKey(c.Project, id))
	if fault.IsNotFound(err) || err == nil && rec.Value.Deleting {
		return rec.Value, fault.NotFound("Backup", id)
	}
	return rec.Value, err
}

type BackupRequest struct {
	Name          string `json:"name"`
	Instance      string `json:"instance"`
	Description   string `json:"description"`
	ParentID      string `json:"parent_id"`
	Incremental   Bit    `json:"incremental"`
	Container     string `json:"swift_container"`
	RestoreFrom   any    `json:"restore_from"`
	StorageDriver string `json:"storage_driver"`
	Schedule      string `json:"-"` // id of the schedule that asks for it; "": a client does
	Last          bool   `json:"-"` // the instance is deleted when it is complete
}

// NewBackup has an instance's guest begin a backup. Each of also adds to the transaction, or refuses it.
func (cp *Plane) NewBackup(ctx context.Context, c Caller, req BackupRequest, also ...func(*plan.Plan, etcdschema.Backup) error) (etcdschema.Backup, error) {
	b, err := cp.orderBackup(ctx, c, req)
	if err != nil {
		return b, err
	}
	event := lifecycle.Event{Type: lifecycle.AskBackup, Backup: b.BackupID, Last: req.Last, Request: c.Request}
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

var errNoStore = fault.Errorf(fault.NotImplemented, "This gateway has no store for backups; its operator sets -backup-dir or -s3-endpoint.")

// orderBackup checks a request against everything but the instance's state and the quota.
func (cp *Plane) orderBackup(ctx context.Context, c Caller, req BackupRequest) (etcdschema.Backup, error) {
	var b etcdschema.Backup
	switch {
	case !ValidName(req.Name):
		return b, fault.Errorf(fault.BadRequest, "Validation error: backup['name'] must be a string of 1 to 255 characters with a letter or digit.")
	case len(req.Description) > limits.MaxDescription || limits.HasControl(req.Description):
		return b, limits.Bounded("backup['description']", req.Description, limits.MaxDescription)
	case req.RestoreFrom != nil:
		return b, fault.Errorf(fault.NotImplemented, "Backups of other systems cannot be registered: restore_from is not available.")
	case req.Instance == "":
		return b, fault.Errorf(fault.BadRequest, "Validation error: backup['instance'] is required: the id of the instance to back up.")
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
	container, err := cp.containerFor(ctx, c, req.Container, in.ID)
	if err != nil {
		return b, err
	}
	now := cp.Now().UTC()
	b = etcdschema.Backup{
		BackupRef: datastores.BackupRef{BackupID: plan.NewID(), Strategy: datastores.StrategyName{Name: strategies.chosen}},
		Project:   c.Project, Name: req.Name, Description: req.Description, Instance: in.ID, Datastore: in.Datastore, Version: in.Version,
		VersionNumber: in.VersionNumber, Manager: in.Manager, Container: container, Schedule: req.Schedule, Status: etcdschema.BackupNew, Created: now, Updated: now,
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
		return backupStrategies{}, errNoStore
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

// containerFor is where a backup goes: what the request says, else its instance's strategy, else the project's.
func (cp *Plane) containerFor(ctx context.Context, c Caller, asked, instance string) (string, error) {
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
