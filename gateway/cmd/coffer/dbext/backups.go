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
	Parent      string          `json:"parent_id,omitempty"` // "": it is a full one
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
}

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

// CancelBackup ends the making of a backup.
func CancelBackup(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodPost, map[string]any{"cancel": map[string]any{}}, "backups", id, "action")
}
