package datastores

import (
	"encoding/json"
	"time"
)

// Arguments and results of the methods, as they travel. See the names of the methods for which belongs to which.

// PrepareArgs are the arguments of prepare.
type PrepareArgs struct {
	Databases    []Database `json:"databases,omitempty"`
	Users        []User     `json:"users,omitempty"`
	RootPassword Secret     `json:"root_password,omitzero"` // not empty: enable root with it
	Overrides    Values     `json:"overrides,omitempty"`
	// Restore, when set, is what the server begins with.
	Restore *RestoreArgs `json:"restore,omitempty"`
	// Replicate, when set, makes the server a replica.
	Replicate *ReplicaArgs `json:"replicate,omitempty"`
	// TLS is the mode to begin with: a replica has its source's. "": basic, or what the guest options require.
	TLS TLSMode `json:"tls,omitempty"`
	// Cluster, when set, is that of which the server will be a member.
	Cluster *ClusterView `json:"cluster,omitempty"`
	// Modules are applied when the server runs. A module that fails is told of, and the server is ready all the same.
	Modules []ModuleArgs `json:"modules,omitempty"`
}

// PrepareReply tells what only the server knows.
type PrepareReply struct {
	// RootEnabled: root can log in, as it could when the backup was made of which the server is. nil: there is no root.
	RootEnabled *bool `json:"root_enabled,omitempty"`
	// TLS is how the server speaks TLS; "": it cannot.
	TLS TLSMode `json:"tls,omitempty"`
	// Configuration is what get_configuration would answer; empty: the server has no parameters to set.
	Configuration map[string]string `json:"configuration,omitempty"`
	// Modules are what has become of those that were to be applied.
	Modules []ModuleState `json:"modules,omitempty"`
}

// RestartArgs may hold overrides that an earlier update_overrides could not bring: they are stored before the restart.
type RestartArgs struct {
	Overrides *Values `json:"overrides,omitempty"` // nil: what is stored stays
}

// StartReply is what has become of a start.
type StartReply struct {
	// Refused says, for a tenant, why the server runs without the parameters that were set; "": it has them.
	Refused string `json:"refused,omitempty"`
}

// OverridesArgs are all that the tenant has set; empty: nothing.
type OverridesArgs struct {
	Values Values `json:"values"`
}

// OverridesReply reports whether the server needs a restart to use all of them.
type OverridesReply struct {
	RestartRequired bool `json:"restart_required,omitempty"`
}

// ConfigurationReply is the configuration of a server without overrides.
type ConfigurationReply struct {
	Configuration map[string]string `json:"configuration"`
}

// BackupArgs ask for a backup. The guest sends it to the gateway in segments, see agentpoll.PathSegment.
type BackupArgs struct {
	BackupID string `json:"backup_id"`
	// Strategy is the server half's; the guest half's goes before it.
	Strategy string `json:"strategy,omitempty"`
	// Parent, when set, is the backup to build on, with the same strategy.
	Parent *BackupRef `json:"parent,omitempty"`
	// Key seals the stream: 32 bytes in base64.
	Key Secret `json:"key,omitzero"`
}

// BackupRef is a backup that is there.
type BackupRef struct {
	BackupID string          `json:"backup_id"`
	Strategy StrategyName    `json:"strategy"`
	Meta     json.RawMessage `json:"meta,omitempty"`
	Segments int             `json:"segments"` // numbered from 1; number 0 is their index
	SHA256   string          `json:"sha256"`   // of the index, in hexadecimal digits
	Size     int64           `json:"size"`     // bytes of the stream
	Stored   int64           `json:"stored"`   // bytes of all segments
	// Fixed are the server's values of parameters that are CreateOnly, where they are not the defaults; a server that is made of
	// its files needs them. nil: nobody knows, as of a backup of an earlier version.
	Fixed Values `json:"fixed,omitzero"`
}

// BackupResult is a backup that was made. Used is what the data took on the volume, in bytes, when it was; where the data has
// no volume of its own, it is the stream's size.
type BackupResult struct {
	BackupRef
	Used int64 `json:"used"`
	// At is when it was complete by the clock of the server: it holds nothing that was committed later.
	At time.Time `json:"at,omitzero"`
}

// RestoreArgs are the chain of a backup: the full one first.
type RestoreArgs struct {
	Chain []BackupRef `json:"chain"`
	Key   Secret      `json:"key,omitzero"`
	// OwnKeys, when set, are in place of Key: for each of the chain the one that opens it and nothing else, see [OwnKey]. The backups are
	// another project's then.
	OwnKeys []Secret `json:"own_keys,omitempty"`
	// Log, when set, is replayed after that.
	Log *ReplayArgs `json:"log,omitempty"`
}

// StrategyArgs name the replication strategy, the server half's; the guest half's namespace goes with it.
type StrategyArgs struct {
	Strategy string `json:"strategy,omitempty"`
}

// SnapshotArgs ask a source to get ready for a replica: the account, and the backup when the strategy needs one.
type SnapshotArgs struct {
	StrategyArgs
	Account ReplicaAccount `json:"account"`
	Backup  BackupArgs     `json:"backup"`
	// AccountOnly: the replica has data; no backup is made.
	AccountOnly bool `json:"account_only,omitempty"`
}

// SnapshotResult holds the backup that was made; nil: the replica copies by itself.
type SnapshotResult struct {
	Backup *BackupResult `json:"backup,omitempty"`
}

// ReplicaArgs name the source to follow.
type ReplicaArgs struct {
	StrategyArgs
	SourceID string          `json:"source_id"`
	Address  string          `json:"address"`
	Account  ReplicaAccount  `json:"account"`
	Backup   json.RawMessage `json:"backup,omitempty"` // see AttachRequest.Backup
	Former   bool            `json:"former,omitempty"`
	Keep     bool            `json:"keep,omitempty"` // see AttachRequest
	Anew     bool            `json:"anew,omitempty"` // see AttachRequest
	TLS      bool            `json:"tls,omitempty"`  // the source takes TLS: it is followed by that alone, see ServerTLS.VerifySource
}

// CleanupArgs name a replica that has gone.
type CleanupArgs struct {
	StrategyArgs
	Account ReplicaAccount `json:"account"`
}

// ReadOnlyArgs make a source read-only, or not any more.
type ReadOnlyArgs struct {
	StrategyArgs
	ReadOnly bool `json:"read_only"`
}

// WaitArgs name the place in its source's history that a replica has to come to.
type WaitArgs struct {
	StrategyArgs
	Position Position `json:"position"`
}

// PromoteArgs hold the accounts of the replicas to be.
type PromoteArgs struct {
	StrategyArgs
	Accounts []ReplicaAccount `json:"accounts,omitempty"`
	// Await is for whom the new source waits from its first commit on.
	Await Await `json:"await,omitzero"`
}

// AwaitArgs say for whom a source waits.
type AwaitArgs struct {
	StrategyArgs
	Await Await `json:"await"`
}

// StandArgs make a candidate of a replica, or have it receive nothing more.
type StandArgs struct {
	StrategyArgs
	Fenced bool `json:"fenced,omitempty"`
}

// ClusterArgs tell a member of its cluster.
type ClusterArgs struct {
	Cluster ClusterView `json:"cluster"`
}

// LogStatus is a log as tenants see it, in Trove's words.
type LogStatus struct {
	Log
	Status    string `json:"status"`    // Disabled, Enabled, Unavailable, Ready, Published, Partial, Rotated, Restart_Required
	Published int64  `json:"published"` // bytes
	Pending   int64  `json:"pending"`   // bytes
}

// LogList is every log that tenants may see.
type LogList struct {
	Logs []LogStatus `json:"logs"`
}

// LogArgs change a log: at most one of Enable, Disable and Discard; then Publish sends what is pending.
type LogArgs struct {
	Name    string `json:"name"`
	Enable  bool   `json:"enable,omitempty"`
	Disable bool   `json:"disable,omitempty"`
	Publish bool   `json:"publish,omitempty"`
	Discard bool   `json:"discard,omitempty"` // forget what was published
}

// UpgradeArgs bring the guest options of the new version.
type UpgradeArgs struct {
	Options json.RawMessage `json:"options"`
}

// CreateDatabaseArgs are made in order; the first failure ends the call, those before it stay.
type CreateDatabaseArgs struct {
	Databases []Database `json:"databases"`
}

// DatabaseArgs name one database.
type DatabaseArgs struct {
	Name string `json:"name"`
}

// CreateUserArgs are made (or changed) in order; the first failure ends the call, those before it stay.
type CreateUserArgs struct {
	Users []User `json:"users"`
}

// UserArgs name one user.
type UserArgs struct {
	Name string `json:"name"`
	Host string `json:"host,omitempty"`
}

// UpdateUserArgs change one user.
type UpdateUserArgs struct {
	UserArgs
	Change UserChange `json:"change"`
}

// AccessArgs name one user and the databases that it may use, or may not any more.
type AccessArgs struct {
	UserArgs
	Databases []string `json:"databases"`
}

// ListArgs ask for one page, ordered by name: at most Limit (0: all) items after Marker. A user's marker is name@host,
// or the name alone. A marker that names nothing as it is may be quoted as in a URL.
type ListArgs struct {
	Limit  int    `json:"limit,omitempty"`
	Marker string `json:"marker,omitempty"`
}

// DatabasePage is one page of databases. Next is the marker of the next page, "" on the last.
type DatabasePage struct {
	Databases []Database `json:"databases"`
	Next      string     `json:"next,omitempty"`
}

// UserPage is one page of users.
type UserPage struct {
	Users []User `json:"users"`
	Next  string `json:"next,omitempty"`
}

// RootArgs carry the password that the gateway has made.
type RootArgs struct {
	Password Secret `json:"password"`
}

// RootReply names the account; the gateway knows the password.
type RootReply struct {
	Name string `json:"name"`
}
