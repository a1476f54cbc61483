package etcdschema

import (
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// The states of a backup, Trove's.
const (
	BackupNew          = "NEW"
	BackupBuilding     = "BUILDING"
	BackupCompleted    = "COMPLETED"
	BackupFailed       = "FAILED"
	BackupDeleteFailed = "DELETE_FAILED"
)

// Backup is a backup of an instance, or one that is being made.
type Backup struct {
	datastores.BackupRef
	Project       string    `json:"project"`
	Name          string    `json:"name"`
	Description   string    `json:"description,omitempty"`
	Instance      string    `json:"instance"`
	Parent        string    `json:"parent,omitempty"`
	Datastore     string    `json:"datastore"`
	Version       string    `json:"version"`
	VersionNumber string    `json:"version_number,omitempty"`
	Manager       string    `json:"manager"`
	Container     string    `json:"container"` // first part of where its segments are
	Status        string    `json:"status"`
	Fault         string    `json:"fault,omitempty"`
	Used          int64     `json:"used,omitempty"` // bytes of the data on the volume
	Created       time.Time `json:"created"`
	Updated       time.Time `json:"updated"`
	// Snapshot: made for a new replica, and removed when that has it. It counts for no quota.
	Snapshot bool `json:"snapshot,omitempty"`
	// Deleting is when its removal was last begun: whoever reads it much later goes on with it.
	Deleting time.Time `json:"deleting,omitzero"`
}

// Running tells whether the backup is being made.
func (b Backup) Running() bool { return b.Status == BackupNew || b.Status == BackupBuilding }

// StreamKey seals the streams of a project's backups.
type StreamKey struct {
	Sealed []byte `json:"sealed"` // 32 bytes, sealed with the gateways' key
}

// BackupStrategy is where a project's, or an instance's, backups go.
type BackupStrategy struct {
	Container string `json:"swift_container"`
}

// Configuration is a configuration group.
type Configuration struct {
	ID          string            `json:"id"`
	Project     string            `json:"project"`
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Datastore   string            `json:"datastore"`
	Version     string            `json:"version"`
	Values      datastores.Values `json:"values"`
	Instances   []string          `json:"instances,omitempty"` // it is attached to
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"`
}
