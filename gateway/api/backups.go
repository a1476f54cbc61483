package api

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

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
	// ClusterID is that of the cluster of which it is; InstanceID is a member that has made it then.
	ClusterID string `json:"cluster_id,omitempty"`
	// Verification is null when nobody has asked for it.
	Verification *verificationView `json:"verification"`
}

// verificationView is what is known of a backup where it lies. Trove has none.
type verificationView struct {
	State    string   `json:"state"`       // waiting, running, or ended
	Done     int64    `json:"bytes_read"`  // of one that runs
	Total    int64    `json:"bytes_total"` // of it
	Result   *string  `json:"result"`      // of the last one: intact, damaged, unreadable
	Reason   *string  `json:"reason"`
	Verified *string  `json:"verified_at"`
	Bytes    *int64   `json:"bytes"` // that it has read
	Seconds  *float64 `json:"seconds"`
}

func viewVerification(b etcdschema.Backup) *verificationView {
	is := b.Verification
	if is == nil {
		return nil
	}
	v := &verificationView{State: "ended", Done: is.Done, Total: is.Total}
	switch {
	case b.Verifying() && is.Attempt != "":
		v.State = "running"
	case b.Verifying():
		v.State = "waiting"
	}
	if last := is.Last; last != nil {
		v.Result, v.Reason, v.Verified, v.Bytes, v.Seconds = optional(last.Result), optional(last.Reason), moment(last.At), &last.Bytes, &last.Seconds
	}
	return v
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
		Datastore:    backupDatastore{b.Datastore, b.Version, etcdschema.VersionID(b.Datastore, b.Version)},
		Verification: viewVerification(b), ClusterID: b.Cluster,
	}
	if b.Strategy.Name != "" && b.Strategy.Namespace != "" {
		v.Strategy = b.Strategy.String()
	}
	if b.Status == etcdschema.BackupCompleted {
		v.LocationRef = optional(segments.BackupPrefix(b.Container, b.Project, b.BackupID))
		used := b.Used
		for _, part := range b.Parts {
			used += part.Used
			v.Stored += part.Stored
		}
		size := gigabytes(used)
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
		return instance != "" && b.Instance != instance && b.Cluster != instance ||
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
	b, err := a.Control.FindGranted(r.ctx, r.Caller, r.query("project_id"), r.param("id"))
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
	ask := a.newBackup
	if body.Backup.RestoreFrom != nil {
		ask = a.Porter.Order
	}
	b, err := ask(r.ctx, r.Caller, *body.Backup)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusAccepted, map[string]any{"backup": viewBackup(b)}}, nil
}

func (a *API) newBackup(ctx context.Context, c control.Caller, req control.BackupRequest) (etcdschema.Backup, error) {
	return a.Control.NewBackup(ctx, c, req)
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
	id := r.param("id")
	switch action {
	case "cancel":
		return accepted(a.cancelBackup(r, id))
	case "verify":
		b, err := a.Verifier.Ask(r.ctx, r.Caller, id)
		if err != nil {
			return reply{}, err
		}
		return reply{http.StatusAccepted, map[string]any{"backup": viewBackup(b)}}, nil
	}
	return reply{}, fault.Errorf(fault.BadRequest, "Action %q is unknown; allowed: cancel, verify.", action)
}

// cancelBackup ends what is being done about a backup: its making, or its verification.
func (a *API) cancelBackup(r *request, id string) error {
	b, err := a.Control.FindBackup(r.ctx, r.Caller, id)
	if err == nil && b.Verifying() {
		return a.Verifier.Cancel(r.ctx, r.Caller, id)
	}
	return a.Control.CancelBackup(r.ctx, r.Caller, id)
}

// windowView is a time without a gap.
type windowView struct {
	From         string   `json:"from"`
	Until        string   `json:"until"`
	Position     string   `json:"until_position"` // in the engine's words
	Backups      []string `json:"backups"`        // that one may begin with, the oldest first
	Open         bool     `json:"open"`           // the log goes on
	ClosedReason *string  `json:"closed_reason"`
	Bytes        int64    `json:"log_bytes"`
	Precision    float64  `json:"precision"` // seconds after a time, of which what was committed may be there, too
}

// restorableView is to what one can go back of an instance. Trove has none.
type restorableView struct {
	InstanceID string       `json:"instance_id"`
	PITR       pitrView     `json:"pitr"`
	Windows    []windowView `json:"windows"`
}

// precise is a time with all that is known of it.
func precise(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func (a *API) showRestorable(r *request) (reply, error) {
	id := r.param("id")
	found, err := a.Recovery.Of(r.ctx, r.Caller, id)
	if err != nil {
		return reply{}, err
	}
	v := restorableView{InstanceID: id, PITR: pitrView{found.Archive.RPO > 0, found.Archive.RPO}, Windows: []windowView{}}
	open := found.Archive.Open()
	for _, w := range found.Windows {
		one := windowView{
			From: precise(w.From().Add(time.Microsecond - 1)), Until: precise(w.Until), Position: w.Position, Open: open != nil && open.ID == w.ID,
			ClosedReason: optional(w.Closed), Bytes: w.Bytes - w.Freed, Precision: w.Precision,
		}
		for _, b := range w.Bases {
			one.Backups = append(one.Backups, b.BackupID)
		}
		v.Windows = append(v.Windows, one)
	}
	return reply{http.StatusOK, map[string]any{"restorable": v}}, nil
}

// grantView is that another project may restore a backup. Trove has none.
type grantView struct {
	ProjectID string  `json:"project_id"`
	GrantedBy *string `json:"granted_by"`
	Granted   string  `json:"granted_at"`
}

func viewGrant(g etcdschema.Grant) grantView {
	return grantView{g.Project, optional(g.By), control.Stamp(g.At)}
}

func (a *API) listGrants(r *request) (reply, error) {
	b, err := a.Control.FindBackup(r.ctx, r.Caller, r.param("id"))
	views := []grantView{}
	for _, g := range b.Grants {
		views = append(views, viewGrant(g))
	}
	return reply{http.StatusOK, map[string]any{"grants": views}}, err
}

func (a *API) createGrant(r *request) (reply, error) {
	body, err := decode[struct {
		Grant struct {
			Project string `json:"project_id"`
		} `json:"grant"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	grant, err := a.Control.Grant(r.ctx, r.Caller, r.param("id"), body.Grant.Project)
	return reply{http.StatusOK, map[string]any{"grant": viewGrant(grant)}}, err
}

func (a *API) deleteGrant(r *request) (reply, error) {
	return accepted(a.Control.Revoke(r.ctx, r.Caller, r.param("id"), r.param("grantee")))
}
