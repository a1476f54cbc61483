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
	// Timeout is how long the gateway waits by default. Prepare's is the datastore's usage_timeout instead.
	Timeout time.Duration
}

// Trove's waits: agent_call_low_timeout and agent_call_high_timeout.
const (
	low  = 15 * time.Second
	high = 180 * time.Second
)

// Names of the methods.
const (
	MethodPrepare          = "prepare"           // PrepareArgs -> nothing
	MethodStart            = "start_db"          // nothing -> nothing
	MethodStop             = "stop_db"           // nothing -> nothing
	MethodRestart          = "restart"           // nothing -> nothing
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
)

// Methods returns the table.
func Methods() []Method {
	return []Method{
		{Name: MethodPrepare, Long: true, Secret: true, Timeout: 1800 * time.Second},
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

// ListArgs ask for one page, ordered by name: at most Limit (0: all) items after Marker. A user's marker is name@host.
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
