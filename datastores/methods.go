package datastores

import "time"

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
	// Without is what clients do without meanwhile: "server", "writes" or nothing.
	Without string
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

// reading is how long a guest may take to read all data.
const reading = 24 * time.Hour

// flush is how long a guest may take to ship what it has not shipped yet.
const flush = time.Minute

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
	MethodAwaitReplicas       = "await_replicas"                   // AwaitArgs -> Position
	MethodStand               = "stand_as_candidate"               // StandArgs -> Position

	MethodClusterJoin   = "install_cluster"   // ClusterArgs -> nothing
	MethodClusterSettle = "cluster_complete"  // ClusterArgs -> nothing
	MethodClusterLeave  = "node_decommission" // ClusterArgs -> nothing

	MethodLogList   = "guest_log_list"   // nothing -> LogList
	MethodLogAction = "guest_log_action" // LogArgs -> LogStatus

	MethodShipLog  = "ship_log"  // ShipArgs -> nothing
	MethodFlushLog = "flush_log" // nothing -> Shipped, when all that was committed before is in the store

	MethodCheckData = "check_data" // CheckArgs -> CheckReport

	MethodModules = "module_apply" // ModulesArgs -> ModulesReply

	MethodUpgrade      = "upgrade"       // UpgradeArgs -> nothing
	MethodCheckUpgrade = "check_upgrade" // UpgradeArgs -> nothing; Invalid says what is in the way

	MethodSSLShow     = "ssl_show"     // nothing -> SSLReply
	MethodSSLAction   = "ssl_action"   // SSLArgs -> SSLReply
	MethodSSLRollback = "ssl_rollback" // SSLArgs, of which Source counts -> SSLReply
)

// Methods returns the table.
func Methods() []Method {
	return []Method{
		{Name: MethodPrepare, Long: true, Secret: true, MovesData: true, Timeout: transfer},
		{Name: MethodStart, Timeout: high},
		{Name: MethodStop, Timeout: high, Without: "server"},
		{Name: MethodRestart, Timeout: high, Without: "server"},
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
		{Name: MethodMakeReadOnly, Needs: CanReplication, Timeout: high, Without: "writes"},
		{Name: MethodLatestTxn, Needs: CanReplication, Reads: true, Timeout: low},
		{Name: MethodWaitForTxn, Needs: CanReplication, Long: true, Timeout: high},
		{Name: MethodEnableAsMaster, Needs: CanReplication, Long: true, Secret: true, Timeout: high},
		{Name: MethodAwaitReplicas, Needs: CanReplication, Timeout: low},
		{Name: MethodStand, Needs: CanReplication, Timeout: low},

		{Name: MethodClusterJoin, Needs: CanCluster, Long: true, Secret: true, MovesData: true, Timeout: transfer},
		{Name: MethodClusterSettle, Needs: CanCluster, Long: true, Secret: true, MovesData: true, Timeout: transfer},
		{Name: MethodClusterLeave, Needs: CanCluster, Long: true, Secret: true, MovesData: true, Timeout: transfer},

		{Name: MethodLogList, Needs: CanLogs, Reads: true, Timeout: low},
		{Name: MethodLogAction, Needs: CanLogs, Timeout: high},

		{Name: MethodShipLog, Needs: CanPointInTime, Secret: true, Timeout: high},
		{Name: MethodFlushLog, Needs: CanPointInTime, Reads: true, Timeout: flush},

		{Name: MethodCheckData, Needs: CanCheck, Reads: true, Long: true, Secret: true, Timeout: reading},

		{Name: MethodModules, Needs: CanModules, Secret: true, Timeout: high},

		{Name: MethodUpgrade, Needs: CanUpgrade, Long: true, MovesData: true, Timeout: transfer, Without: "server"},
		{Name: MethodCheckUpgrade, Needs: CanUpgrade, Reads: true, Long: true, Timeout: high},

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
