package datastores

import (
	"context"
	"log/slog"
	"time"
)

// Manager runs one database server. Every method may be called again after a crash half way through it and must then
// end in the same state. Methods are not called concurrently, with two exceptions: Status may run beside anything, and
// the context may be cancelled at any time; a method must then return soon, leaving a state from which it can be
// run again. What a capability's comment allows beside other calls is a third. Errors should be an *[Error] where one of
// its kinds fits; none may hold a secret.
type Manager interface {
	// Prepare makes a running, secured server from nothing: configuration, data directory, administration account, start.
	// It is empty, or holds what req.Restore brings, or follows the server of req.Replicate. It returns when the server
	// answers. Packages are installed before it, databases, users and root are made after it, both by the guest runtime.
	Prepare(ctx context.Context, req PrepareRequest) error
	// Start starts the server and returns when it answers. A running server is left alone.
	Start(ctx context.Context) error
	// Stop ends the server and returns when it has ended. A stopped server is no error.
	Stop(ctx context.Context) error
	// Status asks the server how it is: healthy, blocked, or shutdown when there is no process. Whether a server that
	// is gone was meant to be (crashed), and whether it was ever made (new, building, failed), the guest runtime knows.
	// It must return within the context's deadline and never start or stop anything.
	Status(ctx context.Context) Status
}

// PrepareRequest is what a manager needs to know beyond its [Env] and options.
type PrepareRequest struct {
	// Progress, never nil, tells how far prepare has come. message is for a person: "initialising the data directory".
	Progress func(message string)
	// Overrides are the parameters that the tenant has set, of a manager that implements [Configuration]; stored as
	// UpdateOverrides does, and in force when Prepare returns.
	Overrides Values
	// Restore, of a manager that implements [Backups], makes the data. nil: there is nothing to restore. Prepare runs it in
	// place of making an empty data directory, or when its Strategy is Logical after starting the empty server.
	Restore *Restore
	// Replicate, of a manager that implements [Replication], makes the server a replica. Prepare runs it after Restore, or,
	// when there is none, in place of making an empty data directory.
	Replicate *Replicate
	// Cluster, of a manager that implements [Cluster], says of which cluster the server will be a member. nil: of none.
	Cluster *ClusterView
}

// Env is where a manager lives. The guest runtime fills it from its [GuestConfig].
type Env struct {
	InstanceID string // UUID
	// Dir is the guest's own directory (0700): configuration, sockets, pid files. It survives restarts. The runtime keeps
	// agent/, server.json, tls.json, guest-logs.json and shipping.json there; every other name is the manager's.
	Dir string
	// DataDir is where the volume is mounted; the database's files go here, in a folder of the manager's choice. The
	// runtime has made it; it belongs to UID and GID. The folder tls is the runtime's, see [ServerTLS]; modules is that of key files.
	DataDir string
	// Address is the IP address that the server must listen on, and no other.
	Address string
	// UID and GID are the database server's own user. -1 means the guest's own (when the guest is not root).
	UID, GID int
	MemoryMB int // what the flavor allows; 0: not limited
	// CgroupDirs are the control group directories that the server's process must be moved into; may be empty.
	CgroupDirs []string
	Log        *slog.Logger
	// TLS says how the server has to speak TLS now; see [Env.ServerTLS]. nil: not at all. Only a manager that implements [TLS]
	// needs to ask, whenever it configures its server.
	TLS func() ServerTLS
}

// ServiceStatus is how a database server is, in Trove's words.
type ServiceStatus string

const (
	StatusNew      ServiceStatus = "new"      // not prepared yet
	StatusBuilding ServiceStatus = "building" // prepare is running
	StatusHealthy  ServiceStatus = "healthy"  // answers queries
	StatusBlocked  ServiceStatus = "blocked"  // the process is there but does not answer
	StatusShutdown ServiceStatus = "shutdown" // stopped on purpose
	StatusCrashed  ServiceStatus = "crashed"  // gone, and nobody asked it to
	StatusFailed   ServiceStatus = "failed to spawn"
)

// Status is a server's state at one moment.
type Status struct {
	Service ServiceStatus `json:"service"`
	// Since is when the running server process was started; zero when there is none.
	Since   time.Time `json:"since,omitzero"`
	Message string    `json:"message,omitempty"` // for a person, when not healthy
	// Restart says why the running server does not go on until it is restarted, such as a replica that has less of something
	// than its source has now. The guest runtime restarts it; nobody else is told. "": nothing of the kind.
	Restart string `json:"-"`
	// Refused is filled by the guest runtime: why the server runs without the parameters that were set; see [StartReply].
	Refused string `json:"refused,omitempty"`
	// TLS is filled by the guest runtime: how the server speaks TLS. "": its manager cannot, or the guest is of an earlier version.
	TLS TLSMode `json:"tls,omitempty"`
	// Warning is filled by the guest runtime: what will soon keep the server from its work, and what to do about it. It says the
	// same for as long as that is so.
	Warning string `json:"warning,omitempty"`
	// Replication is filled by the guest runtime, from [Replication]. nil: its manager has none, or it is not known now.
	Replication *Following `json:"replication,omitempty"`
	// Shipped is filled by the guest runtime, of a server whose log is shipped. The gateway takes it out: it changes all the time.
	Shipped *Shipped `json:"shipped,omitempty"`
	// Able is filled by the guest runtime. The gateway takes it out. nil: the guest is of an earlier version.
	Able *Able `json:"able,omitempty"`
	// Volume is filled by the guest runtime.
	Volume *VolumeUsage `json:"volume,omitempty"`
}

// Able is what a guest's program can do. It may be more than when the instance was made: hosts replace it in place.
type Able struct {
	Capabilities []Capability `json:"capabilities"`
}

// VolumeUsage is the state of the filesystem that holds the data, in bytes.
type VolumeUsage struct {
	Total int64 `json:"total"`
	Used  int64 `json:"used"`
}
