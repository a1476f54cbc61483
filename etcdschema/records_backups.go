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
	// Schedule is the id of the schedule that it was made for; "": somebody asked for it.
	Schedule string `json:"schedule,omitempty"`
	// Children are the backups whose Parent this is. It goes only with them.
	Children []string `json:"children,omitempty"`
	// Readers are the instances whose Restore names this backup. It stays as long as there is one.
	Readers []string `json:"readers,omitempty"`
	// Refunded: it counts in its project's usage no more, because it has failed or was deleted.
	Refunded bool `json:"refunded,omitempty"`
	// Held is what its project is charged for it, in bytes: what it may have in the store while it is made, then what it has.
	Held int64 `json:"held,omitempty"`
	// Deleting: nobody sees it any more, and the record goes with the segments. An earlier release kept a time as "deleting".
	Deleting bool `json:"is_deleting,omitempty"`
	// Due is the time of its key in the due index: its segments have to be removed then. Zero: there is nothing to remove.
	Due time.Time `json:"due,omitzero"`
	// Removing is when an earlier release last began to remove its segments; zero: it did not, or that is in the due index now.
	Removing time.Time `json:"removing,omitzero"`
}

// Running reports whether the backup is being made.
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
	Instances   []string          `json:"instances,omitempty"` // that have it, or are about to
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"`
}

// Authority is a certificate authority, or a key that signs something else.
type Authority struct {
	Certificate string `json:"certificate"` // PEM; of a key alone its public half
	Sealed      []byte `json:"sealed"`      // its private key, PKCS #8, sealed with the gateways' key
}
