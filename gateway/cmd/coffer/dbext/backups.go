package dbext

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
)

// Backup is a backup of an instance.
type Backup struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Instance    string          `json:"instance_id"`
	Cluster     string          `json:"cluster_id,omitempty"` // of which it is, made by a member; "": of the instance
	Parent      string          `json:"parent_id,omitempty"`  // "": it is a full one
	Status      string          `json:"status"`
	Size        float64         `json:"size"`               // GB of data
	Stored      int64           `json:"stored,omitempty"`   // bytes that it takes where it rests
	Strategy    string          `json:"strategy,omitempty"` // that it was made with
	Fault       string          `json:"fault,omitempty"`    // why it FAILED
	Datastore   BackupDatastore `json:"datastore"`
	Location    string          `json:"locationRef,omitempty"`
	Created     Time            `json:"created"`
	Updated     Time            `json:"updated"`
	Project     string          `json:"project_id,omitempty"`
	// Verification is nil when nobody has asked for it.
	Verification *Verification `json:"verification,omitempty"`
}

// Verification is what is known of a backup where it lies.
type Verification struct {
	State    string  `json:"state"`      // waiting, running, or ended
	Done     int64   `json:"bytes_read"` // of one that runs
	Total    int64   `json:"bytes_total"`
	Result   string  `json:"result,omitempty"` // of the last one: intact, damaged, unreadable
	Reason   string  `json:"reason,omitempty"`
	Verified Time    `json:"verified_at,omitzero"`
	Bytes    int64   `json:"bytes"` // that it has read
	Seconds  float64 `json:"seconds"`
}

// Verifying reports whether the backup is to be verified, or is being.
func (b Backup) Verifying() bool { return b.Verification != nil && b.Verification.State != "ended" }

// BackupDatastore says of what a backup was made.
type BackupDatastore struct {
	Type      string `json:"type"`
	Version   string `json:"version"`
	VersionID string `json:"version_id,omitempty"`
}

// Running reports whether it is still being made.
func (b Backup) Running() bool {
	return b.Status == "NEW" || b.Status == "BUILDING" || b.Status == "SAVING"
}

// ListBackups reads the project's backups, or those of one instance.
func ListBackups(ctx context.Context, c *gophercloud.ServiceClient, instance string) ([]Backup, error) {
	query := url.Values{}
	if instance != "" {
		query.Set("instance_id", instance)
	}
	return listBackups(ctx, c, query)
}

// ListAllBackups is ListBackups over all projects. For admins.
func ListAllBackups(ctx context.Context, c *gophercloud.ServiceClient, instance string) ([]Backup, error) {
	query := url.Values{"all_projects": {"true"}}
	if instance != "" {
		query.Set("instance_id", instance)
	}
	return listBackups(ctx, c, query)
}

func listBackups(ctx context.Context, c *gophercloud.ServiceClient, query url.Values) ([]Backup, error) {
	from := endpoint(c, "backups")
	if len(query) > 0 {
		from += "?" + query.Encode()
	}
	return all[Backup](ctx, c, "backups", from)
}

// GetBackup reads one backup.
func GetBackup(ctx context.Context, c *gophercloud.ServiceClient, id string) (Backup, error) {
	return get[Backup](ctx, c, "backup", "backups", id)
}

// BackupOpts ask for a backup.
type BackupOpts struct {
	Name        string `json:"name"`
	Instance    string `json:"instance"`
	Description string `json:"description,omitempty"`
	Parent      string `json:"parent_id,omitempty"`   // to build on
	Incremental int    `json:"incremental,omitempty"` // 1: build on the newest of the instance
}

// CreateBackup asks for a backup, which is NEW then.
func CreateBackup(ctx context.Context, c *gophercloud.ServiceClient, opts BackupOpts) (Backup, error) {
	body := map[string]BackupOpts{"backup": opts}
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "backups"), body, http.StatusAccepted, http.StatusOK)
	return member[Backup](members, "backup", err)
}

// DeleteBackup deletes a backup with those that build on it.
func DeleteBackup(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodDelete, nil, "backups", id)
}

// VerifyBackup has a backup be read where it lies, with all that it builds on.
func VerifyBackup(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodPost, map[string]any{"verify": map[string]any{}}, "backups", id, "action")
}

// CancelBackup ends the making of a backup, or its verification.
func CancelBackup(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodPost, map[string]any{"cancel": map[string]any{}}, "backups", id, "action")
}

// RestorePoint is what another instance was at a time or a position of its log.
type RestorePoint struct {
	Instance string `json:"instance_id"`
	Time     string `json:"time,omitempty"` // RFC 3339
	Position string `json:"position,omitempty"`
}

// Restorable is to what times one can go back of an instance.
type Restorable struct {
	Instance string `json:"instance_id"`
	PITR     struct {
		Enabled bool `json:"enabled"`
		RPO     int  `json:"rpo"` // seconds
	} `json:"pitr"`
	Windows []RestoreWindow `json:"windows"` // the oldest first
}

// RestoreWindow is a time without a gap. Times have fractions of seconds.
type RestoreWindow struct {
	From         string   `json:"from"`
	Until        string   `json:"until"`
	Position     string   `json:"until_position"`
	Backups      []string `json:"backups"`
	Open         bool     `json:"open"`
	ClosedReason string   `json:"closed_reason"` // "": it goes on
	Bytes        int64    `json:"log_bytes"`
	Precision    float64  `json:"precision"` // seconds after a time, of which what was committed may be there, too
}

// GetRestorable reads to what times one can go back of an instance.
func GetRestorable(ctx context.Context, c *gophercloud.ServiceClient, instance string) (Restorable, error) {
	return get[Restorable](ctx, c, "restorable", "instances", instance, "restorable")
}

// SetPITR has the log of an instance be shipped, at most so many seconds behind; nil: not any more.
func SetPITR(ctx context.Context, c *gophercloud.ServiceClient, instance string, rpo *int) error {
	pitr := map[string]any{"enabled": rpo != nil}
	if rpo != nil {
		pitr["rpo"] = *rpo
	}
	return change(ctx, c, http.MethodPut, map[string]any{"instance": map[string]any{"pitr": pitr}}, "instances", instance)
}
