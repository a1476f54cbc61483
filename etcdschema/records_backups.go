package etcdschema

import (
	"slices"
	"strings"
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
	// Cluster is the id of the cluster of which this is a backup, made by its member Instance; "": it is that of the instance alone.
	Cluster string `json:"cluster,omitempty"`
	// Parts are those of the other shards of that cluster, in the order of the shards. The backup is complete when all are, and goes with them.
	Parts []BackupPart `json:"parts,omitempty"`
	// PartOf is the backup in whose Parts this one is. Nobody sees it by itself.
	PartOf string `json:"part_of,omitempty"`
	// Schedule is the id of the schedule that it was made for; "": somebody asked for it.
	Schedule string `json:"schedule,omitempty"`
	// Log is where in the log of its instance it was made; nil: there was none, or it cannot be replayed on it.
	Log *LogMark `json:"log,omitempty"`
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
	// Restored is the last time that an instance of its project was made of it; nil: none was.
	Restored *Restored `json:"restored,omitempty"`
	// Grants are the projects that may restore the backup beside its own, with all that it builds on.
	Grants []Grant `json:"grants,omitempty"`
	// Verification is what is known of the backup where it lies; nil: nobody has asked.
	Verification *Verification `json:"verification,omitempty"`
	// Import is how it was brought in, or is being; nil: it was made of an instance here, and Instance says of which.
	Import *Import `json:"import,omitempty"`
	// Removing is when an earlier release last began to remove its segments; zero: it did not, or that is in the due index now.
	Removing time.Time `json:"removing,omitzero"`
}

// BackupPart is a backup of one more shard of a cluster. Its sizes are there when all are complete.
type BackupPart struct {
	ID     string `json:"id"`
	Used   int64  `json:"used,omitempty"`
	Stored int64  `json:"stored,omitempty"`
}

// Largest is what the backup, or the largest of its parts, takes on a volume.
func (b Backup) Largest() int64 {
	most := b.Used
	for _, part := range b.Parts {
		most = max(most, part.Used)
	}
	return most
}

// Import is that a backup comes from elsewhere. Until it is complete somebody is to send what it holds, by the time of Backup.Due.
type Import struct {
	By    string `json:"by,omitempty"`    // name of the user
	Bytes int64  `json:"bytes,omitempty"` // of the stream, as announced; 0: nobody has said
	// Attempt is the id of the sending that is under way, which says again and again that it is: it has until Until. "": none is.
	Attempt string    `json:"attempt,omitempty"`
	Until   time.Time `json:"until,omitzero"`
}

// Running reports whether the backup is being made, or brought in.
func (b Backup) Running() bool { return b.Status == BackupNew || b.Status == BackupBuilding }

// Of reports whether the backup holds what an instance had: it was made of it, or of another member of its set for a schedule that is kept at it.
func (b Backup) Of(in Instance) bool {
	return b.Instance == in.ID || b.Schedule != "" && slices.Contains(in.Schedules, b.Schedule)
}

// What came of verifying a backup.
const (
	VerifiedIntact     = "intact"
	VerifiedDamaged    = "damaged"
	VerifiedUnreadable = "unreadable" // nobody knows: the store could not be read
)

// Verification is that a backup is to be verified, how far that has come, and what came of it last.
type Verification struct {
	// Due is the time of its key in the due index; zero: nobody waits for it.
	Due time.Time `json:"due,omitzero"`
	// Attempt is the id of the one that is under way, which says again and again that it is: it has until Until. "": none is.
	Attempt string    `json:"attempt,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Tries   int       `json:"tries,omitempty"` // that found the store unreadable
	Done    int64     `json:"done,omitempty"`  // bytes as stored, of Total
	Total   int64     `json:"total,omitempty"`
	Last    *Verified `json:"last,omitempty"`
}

// Verified is what came of verifying a backup with all that it builds on.
type Verified struct {
	At      time.Time `json:"at"`
	Result  string    `json:"result"`
	Reason  string    `json:"reason,omitempty"`
	Bytes   int64     `json:"bytes"` // as stored, that were read
	Seconds float64   `json:"seconds"`
}

// Verifying reports whether the backup is to be verified, or is being.
func (b Backup) Verifying() bool { return b.Verification != nil && !b.Verification.Due.IsZero() }

// Grant lets another project restore a backup.
type Grant struct {
	Project string    `json:"project"`
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at"`
}

// GrantedTo reports whether another project may restore the backup.
func (b Backup) GrantedTo(project string) bool {
	return slices.ContainsFunc(b.Grants, func(g Grant) bool { return g.Project == project })
}

// RestoreKey is the place of a backup that the instance's Restore names, and reports whether it is another project's.
func (in Instance) RestoreKey(name string) (key Key[Backup], foreign bool) {
	if project, id, foreign := strings.Cut(name, "/"); foreign {
		return BackupKey(project, id), true
	}
	return BackupKey(in.Project, name), false
}

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
