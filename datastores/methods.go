package datastores

import (
	"encoding/json"
	"time"
)

// Method is one row of the method table: what a guest can be asked, under Trove's RPC names.
type Method struct {
	Name string
	// Needs is the capability without which the gateway answers 501; "" for what every manager has.
	Needs Capability
	// Reads: the method changes nothing, so a repeated command is simply run again instead of answered from the journal.
	Reads bool
	// Long: runs beside the queue, one at a time, with progress and cancel.
	Long bool
	// Secret: the arguments hold a secret and must be sealed to the agent.
	Secret bool
	// MovesData: the method copies all data, which takes as long as it takes. Its command lives for Timeout; whoever waits gives
	// up when nothing is heard of it for long. Prepare moves data only when it restores or replicates.
	MovesData bool
	// Timeout is how long the gateway waits by default. That of a prepare without data is the datastore's usage_timeout instead.
	Timeout time.Duration
}

// Trove's waits: agent_call_low_timeout and agent_call_high_timeout.
const (
	low  = 15 * time.Second
	high = 180 * time.Second
)

// transfer is how long a command may take that moves all data. Nobody waits for it so long without hearing of progress:
// the life cycle has a limit for that.
const transfer = 7 * 24 * time.Hour

// Names of the methods.
const (
	MethodPrepare          = "prepare"           // PrepareArgs -> PrepareReply
	MethodStart            = "start_db"          // nothing -> StartReply
	MethodStop             = "stop_db"           // nothing -> nothing
	MethodRestart          = "restart"           // RestartArgs -> StartReply
	MethodPing             = "rpc_ping"          // nothing -> nothing
	MethodCreateDatabase   = "create_database"   // CreateDatabaseArgs -> nothing
	MethodListDatabases    = "list_databases"    // ListArgs -> DatabasePage
	MethodDeleteDatabase   = "delete_database"   // DatabaseArgs -> nothing
	MethodCreateUser       = "create_user"       // CreateUserArgs -> nothing
	MethodListUsers        = "list_users"        // ListArgs -> UserPage
	MethodGetUser          = "get_user"          // UserArgs -> User
	MethodDeleteUser       = "delete_user"       // UserArgs -> nothing
	MethodChangePasswords  = "change_passwords"  // CreateUserArgs -> nothing
	MethodUpdateAttributes = "update_attributes" // UpdateUserArgs -> nothing
	MethodListAccess       = "list_access"       // UserArgs -> DatabasePage
	MethodGrantAccess      = "grant_access"      // AccessArgs -> nothing
	MethodRevokeAccess     = "revoke_access"     // AccessArgs with one database -> nothing
	MethodEnableRoot       = "enable_root"       // RootArgs -> RootReply
	MethodDisableRoot      = "disable_root"      // nothing -> nothing

	MethodGetConfiguration = "get_configuration" // nothing -> ConfigurationReply
	MethodUpdateOverrides  = "update_overrides"  // OverridesArgs -> OverridesReply

	MethodCreateBackup = "create_backup" // BackupArgs -> BackupResult

	MethodReplicationSnapshot = "get_replication_snapshot"         // SnapshotArgs -> SnapshotResult
	MethodAttachReplica       = "attach_replica"                   // ReplicaArgs -> nothing
	MethodDetachReplica       = "detach_replica"                   // StrategyArgs -> nothing
	MethodCleanupSource       = "cleanup_source_on_replica_detach" // CleanupArgs -> nothing
	MethodMakeReadOnly        = "make_read_only"                   // ReadOnlyArgs -> Position
	MethodLatestTxn           = "get_latest_txn_id"                // StrategyArgs -> Position
	MethodWaitForTxn          = "wait_for_txn"                     // WaitArgs -> nothing
	MethodEnableAsMaster      = "enable_as_master"                 // PromoteArgs -> nothing

	MethodLogList   = "guest_log_list"   // nothing -> LogList
	MethodLogAction = "guest_log_action" // LogArgs -> LogStatus

	MethodUpgrade = "upgrade" // UpgradeArgs -> nothing

	MethodSSLShow     = "ssl_show"     // nothing -> SSLReply
	MethodSSLAction   = "ssl_action"   // SSLArgs -> SSLReply
	MethodSSLRollback = "ssl_rollback" // SSLArgs, of which Source counts -> SSLReply
)

// Methods returns the table.
func Methods() []Method {
	return []Method{
		{Name: MethodPrepare, Long: true, Secret: true, MovesData: true, Timeout: transfer},
		{Name: MethodStart, Timeout: high},
		{Name: MethodStop, Timeout: high},
		{Name: MethodRestart, Timeout: high},
		{Name: MethodPing, Reads: true, Timeout: low},
		{Name: MethodCreateDatabase, Needs: CanDatabases, Timeout: low},
		{Name: MethodListDatabases, Needs: CanDatabases, Reads: true, Timeout: low},
		{Name: MethodDeleteDatabase, Needs: CanDatabases, Timeout: low},
		{Name: MethodCreateUser, Needs: CanUsers, Secret: true, Timeout: low},
		{Name: MethodListUsers, Needs: CanUsers, Reads: true, Timeout: low},
		{Name: MethodGetUser, Needs: CanUsers, Reads: true, Timeout: low},
		{Name: MethodDeleteUser, Needs: CanUsers, Timeout: low},
		{Name: MethodChangePasswords, Needs: CanUsers, Secret: true, Timeout: low},
		{Name: MethodUpdateAttributes, Needs: CanUsers, Secret: true, Timeout: low},
		{Name: MethodListAccess, Needs: CanAccess, Reads: true, Timeout: low},
		{Name: MethodGrantAccess, Needs: CanAccess, Timeout: low},
		{Name: MethodRevokeAccess, Needs: CanAccess, Timeout: low},
		{Name: MethodEnableRoot, Needs: CanRoot, Secret: true, Timeout: high},
		{Name: MethodDisableRoot, Needs: CanRoot, Timeout: low},

		{Name: MethodGetConfiguration, Needs: CanConfiguration, Reads: true, Timeout: low},
		{Name: MethodUpdateOverrides, Needs: CanConfiguration, Timeout: high},

		{Name: MethodCreateBackup, Needs: CanBackup, Long: true, Secret: true, MovesData: true, Timeout: transfer},

		{Name: MethodReplicationSnapshot, Needs: CanReplication, Long: true, Secret: true, MovesData: true, Timeout: transfer},
		{Name: MethodAttachReplica, Needs: CanReplication, Long: true, Secret: true, MovesData: true, Timeout: transfer},
		{Name: MethodDetachReplica, Needs: CanReplication, Timeout: high},
		{Name: MethodCleanupSource, Needs: CanReplication, Timeout: high},
		{Name: MethodMakeReadOnly, Needs: CanReplication, Timeout: high},
		{Name: MethodLatestTxn, Needs: CanReplication, Reads: true, Timeout: low},
		{Name: MethodWaitForTxn, Needs: CanReplication, Long: true, Timeout: high},
		{Name: MethodEnableAsMaster, Needs: CanReplication, Long: true, Secret: true, Timeout: high},

		{Name: MethodLogList, Needs: CanLogs, Reads: true, Timeout: low},
		{Name: MethodLogAction, Needs: CanLogs, Timeout: high},

		{Name: MethodUpgrade, Needs: CanUpgrade, Long: true, MovesData: true, Timeout: transfer},

		{Name: MethodSSLShow, Needs: CanTLS, Reads: true, Timeout: low},
		{Name: MethodSSLAction, Needs: CanTLS, Timeout: high},
		{Name: MethodSSLRollback, Needs: CanTLS, Timeout: high},
	}
}

// LookupMethod finds a row of the table.
func LookupMethod(name string) (Method, bool) {
	for _, m := range Methods() {
		if m.Name == name {
			return m, true
		}
	}
	return Method{}, false
}

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
}

// PrepareReply tells what only the server knows.
type PrepareReply struct {
	// RootEnabled: root can log in, as it could when the backup was made of which the server is. nil: there is no root.
	RootEnabled *bool `json:"root_enabled,omitempty"`
	// TLS is how the server speaks TLS; "": it cannot.
	TLS TLSMode `json:"tls,omitempty"`
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
}

// RestoreArgs are the chain of a backup: the full one first.
type RestoreArgs struct {
	Chain []BackupRef `json:"chain"`
	Key   Secret      `json:"key,omitzero"`
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
	TLS      bool            `json:"tls,omitempty"` // the source takes TLS: it is followed by that alone, see ServerTLS.VerifySource
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
