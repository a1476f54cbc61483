package datastores

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"io"
	"time"
)

// Backups is implemented by a manager of whose server backups can be made, and that can make a server of them.
type Backups interface {
	// BackupStrategies returns the ways to do it, the default one first. The Env may be the zero one.
	BackupStrategies() []BackupStrategy
}

// BackupStrategy is one way of making backups and of making a server of them. A manager's Prepare runs Restore.
type BackupStrategy struct {
	StrategyName
	Incremental bool // can take a parent
	// Logical: Restore loads the backup into a running, empty server. Otherwise it makes the data directory of a server that
	// was never started. A server of a newer version than the backup's must be able to load it, too.
	Logical bool
	// Upgrades: Restore takes what the strategy of the same name of an older version made, too, and Prepare brings it to the server's version. Versions that it
	// cannot take over it refuses before it changes anything.
	Upgrades bool
	// Replays: Restore heeds its request's Log.
	Replays bool
	// Tool names the engine's own program whose full backup Restore takes, too, as the only link of a chain, without Meta; "": it takes none.
	// Such a one is of any server of its version: there may be no account that the guest knows, and anything in place of those that it needs.
	Tool string
	// Precision, of one that Replays: what was committed for so long after a time may be there, too, when a restore is to that time.
	Precision time.Duration
	// Backup writes one backup to req.Output. It runs beside the calls of tenants, never beside another backup or anything
	// that starts or stops the server. When it fails, or ctx ends, what was written is thrown away; it must leave nothing
	// behind on the server, nor lose anything that a later incremental backup of an earlier parent needs.
	Backup func(ctx context.Context, req BackupRequest) (BackupReply, error)
	// Restore makes the data that the backups of req hold. What an earlier try has left it must take away first.
	// Databases, users and root come back as they were; the guest's own account must work afterwards.
	Restore func(ctx context.Context, req RestoreRequest) error
}

// BackupRequest asks for one backup.
type BackupRequest struct {
	ID string // UUID
	// Parent is the backup to build on; nil asks for a full one.
	Parent *BackupLink
	// Output takes the stream, neither compressed nor encrypted: that the runtime does, and it counts the bytes. Write blocks
	// while the network is slow, and fails as soon as the context has ended.
	Output io.Writer
	// Expect, never nil, tells the runtime how many bytes Output will take, for the progress that it reports. An estimate will do.
	Expect func(total int64)
}

// BackupReply is what has to be known of a backup to restore it or to build on it.
type BackupReply struct {
	// Meta is the strategy's own: log positions, labels. JSON, at most 8 KiB, without secrets. nil: nothing.
	Meta json.RawMessage
	// Without is what the server has on its volume and a restore does not bring back, in bytes: logs of changes. It is not counted in
	// what the backup needs.
	Without int64
}

// BackupLink is a backup in a chain.
type BackupLink struct {
	ID   string
	Meta json.RawMessage // of the BackupReply; nil: none, or the strategy's Tool has made it
	// Open returns the stream as it was written, of a restore only. Its Read fails when the backup is damaged, and says
	// where, and as soon as ctx has ended. It may be opened again.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// RestoreRequest asks for a server made of backups.
type RestoreRequest struct {
	Chain    []BackupLink // the full one first, then each on the one before it
	Progress func(message string)
	// Log, of a strategy that Replays, is the log to replay after that; nil: the server becomes what the last backup is.
	Log *LogReplay
}

// Restore is what Prepare is given to make a server of backups.
type Restore struct {
	Strategy BackupStrategy
	Request  RestoreRequest
}

// Run runs the strategy.
func (r *Restore) Run(ctx context.Context) error { return r.Strategy.Restore(ctx, r.Request) }

// OwnKey is the key that seals one backup, made of that of its project: random nonces stay unique however many segments a project has, and
// whoever may read one backup need not be told what opens all.
func OwnKey(project []byte, backupID string) ([]byte, error) {
	return hkdf.Key(sha256.New, project, nil, "coffer backup v1 "+backupID, sha256.Size)
}
