package gateway

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// backupView is a backup as clients see it: trove-api v1.0.
type backupView struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	LocationRef *string         `json:"locationRef"`
	InstanceID  string          `json:"instance_id"`
	Created     string          `json:"created"`
	Updated     string          `json:"updated"`
	Size        *float64        `json:"size"` // GB
	Status      string          `json:"status"`
	ParentID    *string         `json:"parent_id"`
	ProjectID   string          `json:"project_id"`
	Datastore   backupDatastore `json:"datastore"`
	// Beyond Trove: how it was made, what it takes in the store, and why it failed.
	Strategy string `json:"strategy,omitempty"`
	Stored   int64  `json:"stored,omitempty"` // bytes
	Fault    string `json:"fault,omitempty"`
}

type backupDatastore struct {
	Type      string `json:"type"`
	Version   string `json:"version"`
	VersionID string `json:"version_id"`
}

func viewBackup(b etcdschema.Backup) backupView {
	v := backupView{
		ID: b.BackupID, Name: b.Name, Description: optional(b.Description), InstanceID: b.Instance, Created: stamp(b.Created), Updated: stamp(b.Updated),
		Status: b.Status, ParentID: optional(b.Parent), ProjectID: b.Project, Stored: b.Stored, Fault: b.Fault,
		Datastore: backupDatastore{b.Datastore, b.Version, etcdschema.VersionID(b.Datastore, b.Version)},
	}
	if b.Strategy.Name != "" && b.Strategy.Namespace != "" {
		v.Strategy = b.Strategy.String()
	}
	if b.Status == etcdschema.BackupCompleted {
		v.LocationRef = optional(backupPrefix(b))
		size := gigabytes(b.Used)
		v.Size = &size
	}
	return v
}

// gigabytes is a size as Trove tells it, in GB, but with a digit more where two after the point would show nothing: to 0.1 MB.
func gigabytes(bytes int64) float64 {
	size := float64(bytes) / (1 << 30)
	if size < 0.1 {
		return math.Ceil(size*10000) / 10000
	}
	return math.Round(size*100) / 100
}

// optional is null in JSON when it is empty.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (g *Gateway) listBackups(r *request) (reply, error) {
	from := etcdschema.Backups(r.project)
	if r.who.Admin() && r.query("project_id") != "" {
		from = etcdschema.Backups(r.query("project_id"))
	} else if r.who.Admin() && isTrue(r.query("all_projects")) {
		from = etcdschema.AllBackups()
	}
	return g.backupPage(r, from, r.query("instance_id"))
}

func (g *Gateway) listInstanceBackups(r *request) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	return g.backupPage(r, etcdschema.Backups(r.project), in.ID)
}

// backupPage answers one page, the last changed first; as in Trove the marker is an offset, and a limit may be more than a page.
func (g *Gateway) backupPage(r *request, from etcdschema.Prefix[etcdschema.Backup], instance string) (reply, error) {
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	if n, err := strconv.Atoi(r.query("limit")); err == nil && n > limit {
		limit = n
	}
	offset, err := strconv.Atoi(cmp.Or(marker, "0"))
	if err != nil || offset < 0 {
		return reply{}, faultf(badRequest, "marker %q is not a number of 0 or more.", marker)
	}
	all, err := g.backups(r, from)
	if err != nil {
		return reply{}, err
	}
	datastore := r.query("datastore")
	all = slices.DeleteFunc(all, func(b etcdschema.Backup) bool {
		return instance != "" && b.Instance != instance ||
			datastore != "" && b.Datastore != datastore && etcdschema.DatastoreID(b.Datastore) != datastore
	})
	slices.SortStableFunc(all, func(a, b etcdschema.Backup) int { return b.Updated.Compare(a.Updated) })
	views := []backupView{}
	rest := all[min(offset, len(all)):]
	for _, b := range rest[:min(limit, len(rest))] {
		views = append(views, viewBackup(b))
	}
	var next []link
	if limit < len(rest) {
		next = g.nextLink(r, strconv.Itoa(offset+limit), limit)
	}
	return reply{http.StatusOK, listBody("backups", views, next)}, nil
}

// backups reads all that are there; the removal of one that was deleted is taken up when nobody seems to be at it.
func (g *Gateway) backups(r *request, from etcdschema.Prefix[etcdschema.Backup]) ([]etcdschema.Backup, error) {
	list, err := etcdschema.List(r.ctx, g.store, from, etcdschema.Page{})
	if err != nil {
		return nil, err
	}
	var there []etcdschema.Backup
	for _, rec := range list.Records {
		if g.isThere(rec.Value) {
			there = append(there, rec.Value)
		}
	}
	return there, nil
}

// isThere reports whether clients see a backup.
func (g *Gateway) isThere(b etcdschema.Backup) bool {
	g.takeUp(b)
	return !b.Deleting
}

// findBackup reads the backup of an id.
func (g *Gateway) findBackup(r *request, id string) (etcdschema.Backup, error) {
	rec, err := etcdschema.Get(r.ctx, g.store, etcdschema.BackupKey(r.project, id))
	if isNotFound(err) || err == nil && !g.isThere(rec.Value) {
		return rec.Value, notFound("Backup", id)
	}
	return rec.Value, err
}

func (g *Gateway) showBackup(r *request) (reply, error) {
	b, err := g.findBackup(r, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"backup": viewBackup(b)}}, nil
}

type backupRequest struct {
	Name          string `json:"name"`
	Instance      string `json:"instance"`
	Description   string `json:"description"`
	ParentID      string `json:"parent_id"`
	Incremental   bit    `json:"incremental"`
	Container     string `json:"swift_container"`
	RestoreFrom   any    `json:"restore_from"`
	StorageDriver string `json:"storage_driver"`
}

// createBackup asks an instance's guest for a backup and answers at once.
func (g *Gateway) createBackup(r *request) (reply, error) {
	body, err := decode[struct {
		Backup *backupRequest `json:"backup"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Backup == nil {
		return reply{}, faultf(badRequest, "Validation error: 'backup' is a required property.")
	}
	b, err := g.orderBackup(r, *body.Backup)
	if err != nil {
		return reply{}, err
	}
	event := lifecycle.Event{Type: lifecycle.AskBackup, Backup: b.BackupID, Request: r.id()}
	_, err = g.transition(r.ctx, r.project, b.Instance, event, func(p *plan) error {
		if err := g.canBeAsked(p.s, p.before); err != nil {
			return err
		}
		b.Held = segmentSize
		used, err := g.account(p.s, r.project, func(u etcdschema.Usage) etcdschema.Usage {
			u.Backups++
			u.BackupBytes += b.Held
			return u
		})
		if err != nil {
			return err
		}
		joined, err := joinParent(p.s, p.before, b)
		key := etcdschema.BackupKey(r.project, b.BackupID)
		p.s = etcdschema.With(p.s, key, b)
		p.put(append(slices.Concat(used, joined), etcdschema.Put(key, b))...)
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusAccepted, map[string]any{"backup": viewBackup(b)}}, nil
}

// canBeAsked refuses what the guest would have to do at once while it is away.
func (g *Gateway) canBeAsked(s etcdschema.Snapshot, in etcdschema.Instance) error {
	presence, err := etcdschema.Read(s, etcdschema.PresenceKey(in.ID))
	if err != nil {
		return err
	}
	return g.reachable(in.ID, presence)
}

// orderBackup checks a request against everything but the instance's state and the quota.
func (g *Gateway) orderBackup(r *request, req backupRequest) (etcdschema.Backup, error) {
	var b etcdschema.Backup
	switch {
	case !nonEmpty(req.Name):
		return b, faultf(badRequest, "Validation error: backup['name'] must be a string of 1 to 255 characters with a letter or digit.")
	case len(req.Description) > maxDescription || hasControl(req.Description):
		return b, bounded("backup['description']", req.Description, maxDescription)
	case req.RestoreFrom != nil:
		return b, faultf(notImplemented, "Backups of other systems cannot be registered: restore_from is not available.")
	case g.Blobs == nil:
		return b, faultf(notImplemented, "This gateway has no store for backups; its operator sets -backup-dir or -s3-endpoint.")
	case req.Instance == "":
		return b, faultf(badRequest, "Validation error: backup['instance'] is required: the id of the instance to back up.")
	}
	id := lastPart(req.Instance)
	rec, err := etcdschema.Get(r.ctx, g.store, etcdschema.InstanceKey(r.project, id))
	if err != nil {
		return b, instanceError(err, id)
	}
	in := rec.Value
	if err := supports(in, method(datastores.MethodCreateBackup)); err != nil {
		return b, err
	}
	strategies, err := g.strategiesOf(r, in)
	if err != nil {
		return b, err
	}
	container, err := g.containerFor(r, req.Container, in.ID)
	if err != nil {
		return b, err
	}
	now := g.now().UTC()
	b = etcdschema.Backup{
		BackupRef: datastores.BackupRef{BackupID: newID(), Strategy: datastores.StrategyName{Name: strategies.chosen}},
		Project:   r.project, Name: req.Name, Description: req.Description, Instance: in.ID, Datastore: in.Datastore, Version: in.Version,
		VersionNumber: in.VersionNumber, Manager: in.Manager, Container: container, Status: etcdschema.BackupNew, Created: now, Updated: now,
	}
	parent, err := g.parentOf(r, req, in, strategies)
	if err != nil || parent.BackupID == "" {
		return b, err
	}
	chain, err := g.chainOf(r, parent)
	if err == nil && len(chain) >= maxFamily {
		err = faultf(unprocessable, "Backup %s is the last of %d that build on each other; begin again with a full backup.", parent.BackupID, len(chain))
	}
	b.Parent, b.Strategy = parent.BackupID, parent.Strategy
	return b, err
}

// backupStrategies are those of a datastore version: which is chosen, and what each can do.
type backupStrategies struct {
	chosen string
	all    []datastores.Strategy
}

// strategiesOf reads them from the definition in force, so that an operator's change takes effect with the next backup.
func (g *Gateway) strategiesOf(r *request, in etcdschema.Instance) (backupStrategies, error) {
	catalogue, err := g.catalogue(r.ctx)
	if err != nil {
		return backupStrategies{}, err
	}
	v, ok := catalogue.FindVersion(in.Datastore, in.Version)
	switch {
	case !ok:
		return backupStrategies{}, nil // withdrawn; the guest knows its own
	case v.Server.BackupStrategy == "":
		return backupStrategies{}, faultf(notImplemented, "Backups of %s %s are turned off: its definition has no backup_strategy.", in.Datastore, in.Version)
	}
	return backupStrategies{v.Server.BackupStrategy, v.Server.BackupStrategies}, nil
}

func (s backupStrategies) incremental(name datastores.StrategyName) bool {
	return slices.ContainsFunc(s.all, func(d datastores.Strategy) bool { return d.StrategyName == name && d.Incremental })
}

// parentOf finds the backup to build on: the one named, or for an incremental one without a name the newest that can be.
func (g *Gateway) parentOf(r *request, req backupRequest, in etcdschema.Instance, strategies backupStrategies) (etcdschema.Backup, error) {
	var none etcdschema.Backup
	if req.ParentID != "" {
		parent, err := g.findBackup(r, req.ParentID)
		if err == nil {
			err = mayBeParent(parent, in)
		}
		if err == nil && !strategies.incremental(parent.Strategy) {
			err = faultf(notImplemented, "The strategy %s makes no incremental backups.", parent.Strategy)
		}
		return parent, err
	}
	if !bool(req.Incremental) {
		return none, nil
	}
	all, err := g.backups(r, etcdschema.Backups(r.project))
	for _, b := range all {
		if mayBeParent(b, in) == nil && strategies.incremental(b.Strategy) && b.Updated.After(none.Updated) {
			none = b
		}
	}
	return none, err
}

// bit is Trove's boolean_string: the integer 0 or 1. JSON's own are taken, too.
type bit bool

func (f *bit) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "0", "false", "null":
		*f = false
	case "1", "true":
		*f = true
	default:
		return faultf(badRequest, "Validation error: want 0 or 1, not %s.", b)
	}
	return nil
}

func isTrue(s string) bool {
	v, err := strconv.ParseBool(s)
	return err == nil && v
}
