package dbext

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// BackupGrant is that another project may restore a backup.
type BackupGrant struct {
	Project string `json:"project_id"`
	By      string `json:"granted_by,omitempty"`
	At      Time   `json:"granted_at"`
}

// ListGrants reads to whom a backup is granted.
func ListGrants(ctx context.Context, c *gophercloud.ServiceClient, backup string) ([]BackupGrant, error) {
	return all[BackupGrant](ctx, c, "grants", endpoint(c, "backups", backup, "grants"))
}

// GrantBackup lets another project restore a backup with all that it builds on.
func GrantBackup(ctx context.Context, c *gophercloud.ServiceClient, backup, project string) error {
	body := map[string]any{"grant": map[string]string{"project_id": project}}
	return change(ctx, c, http.MethodPost, body, "backups", backup, "grants")
}

// RevokeBackup takes that back.
func RevokeBackup(ctx context.Context, c *gophercloud.ServiceClient, backup, project string) error {
	return change(ctx, c, http.MethodDelete, nil, "backups", backup, "grants", project)
}
