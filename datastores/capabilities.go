package datastores

import (
	"context"
	"slices"
)

// Database is one database (schema, keyspace) of a server.
type Database struct {
	Name         string `json:"name"`
	CharacterSet string `json:"character_set,omitempty"`
	Collate      string `json:"collate,omitempty"`
}

// User is one user of a server. A user is Name and Host together where the datastore knows hosts.
type User struct {
	Name      string     `json:"name"`
	Host      string     `json:"host,omitempty"` // "" and "%" mean any
	Password  Secret     `json:"password,omitzero"`
	Databases []Database `json:"databases,omitempty"` // those that the user may use
}

// UserChange is what a tenant may change of a user. Empty fields stay as they are.
type UserChange struct {
	Name     string `json:"name,omitempty"`
	Host     string `json:"host,omitempty"`
	Password Secret `json:"password,omitzero"`
}

// Databases is implemented by a manager whose tenants may make databases.
type Databases interface {
	// CreateDatabase returns an [Error] of kind Exists when there is one of that name, Invalid for a name, character
	// set or collation that the server does not take.
	CreateDatabase(ctx context.Context, db Database) error
	// ListDatabases returns all, the reserved ones too (the runtime hides them), in any order.
	ListDatabases(ctx context.Context) ([]Database, error)
	// DeleteDatabase returns NotFound when there is none.
	DeleteDatabase(ctx context.Context, name string) error
}

// Users is implemented by a manager whose tenants may make users. A session lasts no longer than what let it in: when a call
// returns that changed a user's password or name, took its access to a database or deleted it, the user's sessions have
// ended; those that cannot use the database may go on after a revoke.
type Users interface {
	// CreateUser makes the user and lets it use user.Databases, which must exist. Exists when there is one; then
	// nothing is changed.
	CreateUser(ctx context.Context, user User) error
	// ListUsers returns all with their databases, the reserved ones too, in any order, never a password.
	ListUsers(ctx context.Context) ([]User, error)
	// GetUser returns NotFound when there is none.
	GetUser(ctx context.Context, name, host string) (User, error)
	// UpdateUser changes name, host or password; NotFound, or Exists when the new name and host are taken.
	UpdateUser(ctx context.Context, name, host string, change UserChange) error
	// DeleteUser returns NotFound when there is none.
	DeleteUser(ctx context.Context, name, host string) error
}

// Access is implemented by a manager of which a tenant may say which user may use which database. A manager that
// implements Access also implements [Users].
type Access interface {
	// ListAccess returns the databases that the user may use; NotFound for the user.
	ListAccess(ctx context.Context, name, host string) ([]Database, error)
	// GrantAccess gives the user all rights on the databases; NotFound for the user or any database, then nothing is
	// changed.
	GrantAccess(ctx context.Context, name, host string, databases []string) error
	// RevokeAccess returns NotFound when the user had no right on it.
	RevokeAccess(ctx context.Context, name, host, database string) error
}

// Root is implemented by a manager that can hand out its most powerful account.
type Root interface {
	// EnableRoot makes the account usable from anywhere with that password, again if it was already, and returns its
	// name.
	EnableRoot(ctx context.Context, password Secret) (name string, err error)
	// DisableRoot makes the account unusable for tenants and ends its sessions.
	DisableRoot(ctx context.Context) error
	// RootEnabled reports whether the account lets anybody in. A server that was made of a backup has the account as it was
	// there, and a replica has its source's.
	RootEnabled(ctx context.Context) (bool, error)
}

// Restarter is implemented by a manager for which Stop followed by Start is not the best way to restart.
type Restarter interface {
	Restart(ctx context.Context) error
}

// Upkeep is implemented by a manager whose server needs looking after while it runs.
type Upkeep interface {
	// Upkeep is called every few seconds while the server should run and is healthy, when no other call has its turn. It
	// must be quick: calls of tenants wait for it. What it could not do it does the next time.
	Upkeep(ctx context.Context) error
}

// Mender is implemented by a manager whose server may be blocked by something that it does not get over alone, such as having lost the
// other members of its cluster.
type Mender interface {
	// Mend is called every few seconds while the server should run and is blocked, when no other call has its turn. It brings the server a step
	// nearer to being healthy, and returns what it waits for.
	Mend(ctx context.Context) error
}

// Capability names an optional ability, as it stands in a manifest and in a definition.
type Capability string

const (
	CanDatabases         Capability = "databases"
	CanUsers             Capability = "users"
	CanAccess            Capability = "access"
	CanRoot              Capability = "root"
	CanConfiguration     Capability = "configuration"
	CanBackup            Capability = "backup"
	CanIncrementalBackup Capability = "incremental_backup"
	CanReplication       Capability = "replication"
	CanLogs              Capability = "logs"
	CanUpgrade           Capability = "upgrade"
	CanTLS               Capability = "tls"
	CanCluster           Capability = "cluster"
	CanPointInTime       Capability = "point_in_time"
	CanCheck             Capability = "check"
	CanModules           Capability = "modules"
	CanFailover          Capability = "failover"         // nothing that was acknowledged is lost
	CanBoundedFailover   Capability = "failover_bounded" // what was acknowledged last may be
)

// AllCapabilities returns every capability there is, in a fixed order.
func AllCapabilities() []Capability {
	return []Capability{CanDatabases, CanUsers, CanAccess, CanRoot, CanConfiguration, CanBackup, CanIncrementalBackup,
		CanReplication, CanLogs, CanUpgrade, CanTLS, CanCluster, CanPointInTime, CanCheck, CanModules, CanFailover, CanBoundedFailover}
}

// Capabilities tells what m can do beyond the required methods, in a fixed order.
func Capabilities(m Manager) []Capability {
	var caps []Capability
	failover := failoverOf(m)
	for _, c := range []struct {
		name Capability
		has  bool
	}{
		{CanDatabases, is[Databases](m)},
		{CanUsers, is[Users](m)},
		{CanAccess, is[Access](m)},
		{CanRoot, is[Root](m)},
		{CanConfiguration, is[Configuration](m)},
		{CanBackup, is[Backups](m)},
		{CanIncrementalBackup, incremental(m)},
		{CanReplication, replicates(m)},
		{CanLogs, is[Logs](m)},
		{CanUpgrade, is[Upgrader](m)},
		{CanTLS, is[TLS](m)},
		{CanCluster, is[Cluster](m)},
		{CanPointInTime, is[PointInTime](m) && replays(m)},
		{CanCheck, is[Checker](m)},
		{CanModules, len(ModuleTypes(m)) > 0},
		{CanFailover, failover != nil && !failover.Bounded},
		{CanBoundedFailover, failover != nil && failover.Bounded},
	} {
		if c.has {
			caps = append(caps, c.name)
		}
	}
	return caps
}

// incremental reports whether any way of making backups can build on an earlier one.
func incremental(m Manager) bool {
	b, ok := m.(Backups)
	return ok && slices.ContainsFunc(b.BackupStrategies(), func(s BackupStrategy) bool { return s.Incremental })
}

// replays reports whether the log can be replayed on any backup.
func replays(m Manager) bool {
	b, ok := m.(Backups)
	return ok && slices.ContainsFunc(b.BackupStrategies(), func(s BackupStrategy) bool { return s.Replays })
}

// replicates reports whether there is any way for its servers to follow each other.
func replicates(m Manager) bool {
	r, ok := m.(Replication)
	return ok && len(r.ReplicationStrategies()) > 0
}

func is[T any](m Manager) bool { _, ok := m.(T); return ok }
