package api

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/segments"
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
		ID: b.BackupID, Name: b.Name, Description: optional(b.Description), InstanceID: b.Instance, Created: control.Stamp(b.Created), Updated: control.Stamp(b.Updated),
		Status: b.Status, ParentID: optional(b.Parent), ProjectID: b.Project, Stored: b.Stored, Fault: b.Fault,
		Datastore: backupDatastore{b.Datastore, b.Version, etcdschema.VersionID(b.Datastore, b.Version)},
	}
	if b.Strategy.Name != "" && b.Strategy.Namespace != "" {
		v.Strategy = b.Strategy.String()
	}
	if b.Status == etcdschema.BackupCompleted {
		v.LocationRef = optional(segments.BackupPrefix(b.Container, b.Project, b.BackupID))
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

func (a *API) listBackups(r *request) (reply, error) {
	from := etcdschema.Backups(r.Project)
	if r.Who.Admin() && r.query("project_id") != "" {
		from = etcdschema.Backups(r.query("project_id"))
	} else if r.Who.Admin() && isTrue(r.query("all_projects")) {
		from = etcdschema.AllBackups()
	}
	return a.backupPage(r, from, r.query("instance_id"))
}

func (a *API) listInstanceBackups(r *request) (reply, error) {
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	return a.backupPage(r, etcdschema.Backups(r.Project), in.ID)
}

// backupPage answers one page, the last changed first; as in Trove the marker is an offset, and a limit may be more than a page.
func (a *API) backupPage(r *request, from etcdschema.Prefix[etcdschema.Backup], instance string) (reply, error) {
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	if n, err := strconv.Atoi(r.query("limit")); err == nil && n > limit {
		limit = n
	}
	offset, err := strconv.Atoi(cmp.Or(marker, "0"))
	if err != nil || offset < 0 {
		return reply{}, fault.Errorf(fault.BadRequest, "marker %q is not a number of 0 or more.", marker)
	}
	all, err := a.Control.Backups(r.ctx, from)
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
		next = a.nextLink(r, strconv.Itoa(offset+limit), limit)
	}
	return reply{http.StatusOK, listBody("backups", views, next)}, nil
}

func (a *API) showBackup(r *request) (reply, error) {
	b, err := a.Control.FindBackup(r.ctx, r.Caller, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"backup": viewBackup(b)}}, nil
}

// createBackup asks an instance's guest for a backup and answers at once.
func (a *API) createBackup(r *request) (reply, error) {
	body, err := decode[struct {
		Backup *control.BackupRequest `json:"backup"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Backup == nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'backup' is a required property.")
	}
	b, err := a.Control.NewBackup(r.ctx, r.Caller, *body.Backup)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusAccepted, map[string]any{"backup": viewBackup(b)}}, nil
}

func isTrue(s string) bool {
	v, err := strconv.ParseBool(s)
	return err == nil && v
}

func (a *API) deleteBackup(r *request) (reply, error) {
	return accepted(a.Control.RemoveBackup(r.ctx, r.Caller, r.param("id")))
}

func (a *API) actOnBackup(r *request) (reply, error) {
	action, _, err := oneAction(r)
	if err != nil {
		return reply{}, err
	}
	if action != "cancel" {
		return reply{}, fault.Errorf(fault.BadRequest, "Action %q is unknown; allowed: cancel.", action)
	}
	return accepted(a.Control.CancelBackup(r.ctx, r.Caller, r.param("id")))
}
