package etcdschema

import (
	"encoding/json"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

// Datastore is an operator's record of a datastore.
type Datastore struct {
	DefaultVersion string `json:"default_version,omitempty"`
	Description    string `json:"description,omitempty"`
	Active         *bool  `json:"active,omitempty"`  // default true
	Default        bool   `json:"default,omitempty"` // what a create is of that names no datastore
}

// Flavor is a size of an instance.
type Flavor struct {
	Name  string `json:"name"`
	RAM   int    `json:"ram"` // MB
	VCPUs int    `json:"vcpus"`
	Disk  int    `json:"disk"` // GB
}

// Quota limits a project; nil means the gateway's default, -1 no limit.
type Quota struct {
	Instances      *int `json:"instances,omitempty"`
	RAM            *int `json:"ram,omitempty"`     // MB
	Volumes        *int `json:"volumes,omitempty"` // GB
	Backups        *int `json:"backups,omitempty"`
	Configurations *int `json:"configurations,omitempty"`
	BackupGB       *int `json:"backup_gigabytes,omitempty"`
	LogGB          *int `json:"log_gigabytes,omitempty"`
	Drills         *int `json:"drills,omitempty"`
	Modules        *int `json:"modules,omitempty"`
}

// Usage is what a project uses, in the units of [Quota] where the name says no other.
type Usage struct {
	Instances      int `json:"instances"`
	RAM            int `json:"ram"`
	Volumes        int `json:"volumes"`
	Backups        int `json:"backups"`
	Configurations int `json:"configurations,omitempty"`
	Defaults       int `json:"defaults,omitempty"` // default schedules
	Drills         int `json:"drills,omitempty"`   // instances of drills, which count for nothing else
	Modules        int `json:"modules,omitempty"`
	// BackupBytes is what backups take in the store, or may take while they are made; LogBytes what was published of logs.
	BackupBytes int64 `json:"backup_bytes,omitempty"`
	LogBytes    int64 `json:"log_bytes,omitempty"`
}

// Instance is a database instance. What clients see as its status is worked out from it: see gateway/lifecycle.
type Instance struct {
	ID            string                  `json:"id"`
	Project       string                  `json:"project"`
	Name          string                  `json:"name"`
	Datastore     string                  `json:"datastore"`
	Version       string                  `json:"version"`
	VersionNumber string                  `json:"version_number,omitempty"`
	Manager       string                  `json:"manager"`
	Image         string                  `json:"image,omitempty"` // that it runs in, of its host's; "": the host's own system
	Capabilities  []datastores.Capability `json:"capabilities,omitempty"`
	Names         datastores.NameRules    `json:"names,omitzero"`
	// UsersPerServer, see datastores.ServerOptions.
	UsersPerServer bool      `json:"users_per_server,omitempty"`
	FlavorID       string    `json:"flavor_id"`
	Flavor         Flavor    `json:"flavor"`
	VolumeGB       int       `json:"volume_gb,omitempty"` // 0: the datastore has no volume
	VolumeType     string    `json:"volume_type,omitempty"`
	Public         bool      `json:"public,omitempty"`
	AllowedCIDRs   []string  `json:"allowed_cidrs,omitempty"`
	Created        time.Time `json:"created"`
	Updated        time.Time `json:"updated"`

	UsageTimeout int  `json:"usage_timeout,omitempty"` // seconds that create may take; 0: datastores.DefaultUsageTimeout
	Prepared     bool `json:"prepared,omitempty"`      // has been ACTIVE once
	Protected    bool `json:"protected,omitempty"`     // cannot be deleted as long as that is so
	// DrillOf is the instance that it is a drill of: it is made of what is kept of that, looked at, and removed. "": it is no drill.
	DrillOf string `json:"drill_of,omitempty"`

	Firewall deployments.Firewall `json:"firewall,omitzero"` // ports of the datastore version, AllowedCIDRs

	Host    string `json:"host,omitempty"` // id of the host that runs it; "": none, it waits for a machine of its own
	Address string `json:"address,omitempty"`
	// Took is how many seconds the last operation of each kind took that has ended well.
	Took map[string]float64 `json:"took,omitempty"`
	// Moved is when it came to that host from another; zero: it was made there.
	Moved time.Time `json:"moved,omitzero"`

	Operation *Operation `json:"operation,omitempty"`
	// Due is the time of the instance's key in the due index: that of the operation's deadline or an earlier one. Zero: it has none.
	Due time.Time `json:"due,omitzero"`
	// Failed names the operation that failed last, or lifecycle.Follow or Fence, until another one succeeds or reset_status; the
	// API says ERROR.
	Failed          string `json:"failed,omitempty"`
	Fault           *Fault `json:"fault,omitempty"` // of the last failure, until an operation other than a backup succeeds
	RestartRequired bool   `json:"restart_required,omitempty"`

	Service         datastores.Status `json:"service"` // as last reported by the guest
	ServiceReported time.Time         `json:"service_reported,omitzero"`

	Configuration string `json:"configuration,omitempty"` // id of the attached configuration group

	// Modules are those that it has, or that something is being done with.
	Modules []AppliedModule `json:"modules,omitempty"`

	// SetID is the set that it is a member of; "": it is alone.
	SetID string `json:"set,omitempty"`
	// Zone is the availability zone that was asked for; "": any.
	Zone string `json:"availability_zone,omitempty"`
	// Locality and ReplicationStrategy are what a set is made with for its first replica, and what an instance keeps of the set
	// that it has left: see [Set].
	Locality            string `json:"locality,omitempty"`
	ReplicationStrategy string `json:"replication_strategy,omitempty"`
	// Restore are the backups that the guest may read while it prepares: a chain, the full one first, by their ids, or as project/id those
	// that another project has granted. See RestoreKey.
	Restore []string `json:"restore,omitempty"`
	// Replay is the log that the guest may read after that; nil: none.
	Replay *Replay `json:"replay,omitempty"`

	RootEnabled   bool      `json:"root_enabled,omitempty"`
	RootEnabledAt time.Time `json:"root_enabled_at,omitzero"` // first time; kept after disable
	RootEnabledBy string    `json:"root_enabled_by,omitempty"`

	// RPO is how far its shipped log may be behind, in seconds, see [Archive]; 0: none is shipped.
	RPO int `json:"rpo,omitempty"`
	// Schedules are the ids of its schedules.
	Schedules []string `json:"schedules,omitempty"`

	// Logs are the logs of which something was published.
	Logs []string `json:"logs,omitempty"`
	// LogBytes are what its project is charged for each of them.
	LogBytes map[string]int64 `json:"log_bytes,omitempty"`

	// Sealed holds the datastores.PrepareArgs until the guest has enrolled: AES-256-GCM with the gateways' key.
	Sealed []byte `json:"sealed,omitempty"`
	// LastEvent is the number of the last line of the timeline.
	LastEvent int64 `json:"last_event,omitempty"`
}

// Deleted is what is told of an instance that was deleted: what it was, not what it had.
type Deleted struct {
	Instance Instance  `json:"instance"`
	At       time.Time `json:"at"`
}

// Defaults is what an instance's server has without a configuration group, as its guest has said, and of what it was said.
type Defaults struct {
	Version       string            `json:"version"`
	Flavor        Flavor            `json:"flavor"`
	Configuration map[string]string `json:"configuration"`
}

// Operation is what is being done to an instance, and how far it has come.
type Operation struct {
	Kind     string    `json:"kind"`
	Step     string    `json:"step"`
	Since    time.Time `json:"since"`
	Started  time.Time `json:"started"`           // of the whole operation
	Deadline time.Time `json:"deadline"`          // of the step; whoever reads it later than that ends it
	Agent    string    `json:"agent,omitempty"`   // who is waited for
	Command  string    `json:"command,omitempty"` // which of its commands
	Request  string    `json:"request,omitempty"` // id of the request that began it
	By       string    `json:"by,omitempty"`      // who asked for it; "": nobody did
	// Progress is the last that the agent said of the step.
	Progress *agentpoll.Progress `json:"progress,omitempty"`

	Backup string `json:"backup,omitempty"` // of a backup, or of a new replica's snapshot: which
	// Last: the backup is the instance's last; when it is complete, the instance is deleted.
	Last bool `json:"last,omitempty"`
	// Target is what the instance becomes, of a resize, upgrade, configure or modules.
	Target *Target `json:"target,omitempty"`
	// Outdated: the values of the instance's configuration group have changed since the operation began.
	Outdated bool `json:"outdated,omitempty"`
	// Former is where the instance was before a migration that is under way.
	Former *Former `json:"former,omitempty"`
	// Resizes: somebody asked for another size, for which the host of the instance had no room.
	Resizes bool `json:"resizes,omitempty"`
	// Reason is why the operation has failed, and FailedStep where, while what it did is being undone.
	Reason     string `json:"reason,omitempty"`
	FailedStep string `json:"failed_step,omitempty"`
}

// Target is what an instance becomes; zero fields stay as they are.
type Target struct {
	Configuration *string       `json:"configuration,omitempty"` // "": none
	FlavorID      string        `json:"flavor_id,omitempty"`
	Flavor        *Flavor       `json:"flavor,omitempty"`
	VolumeGB      int           `json:"volume_gb,omitempty"`
	Version       *Upgrade      `json:"version,omitempty"`
	Modules       *ModuleChange `json:"modules,omitempty"`
	Host          string        `json:"host,omitempty"` // of a migration, with the address that is kept there
	Address       string        `json:"address,omitempty"`
}

// Former is a place that an instance may go back to, and the size that it had there.
type Former struct {
	Host     string `json:"host"`
	Address  string `json:"address"`
	Agent    Agent  `json:"agent"` // of the guest there
	FlavorID string `json:"flavor_id"`
	Flavor   Flavor `json:"flavor"`
	VolumeGB int    `json:"volume_gb,omitempty"`
}

// Upgrade is the datastore version that an instance gets.
type Upgrade struct {
	Version       string                  `json:"version"`
	VersionNumber string                  `json:"version_number,omitempty"`
	Capabilities  []datastores.Capability `json:"capabilities,omitempty"`
	Names         datastores.NameRules    `json:"names,omitzero"`
	Ports         *deployments.Firewall   `json:"ports,omitempty"`        // at which its server is reached; nil: as before
	Image         string                  `json:"image,omitempty"`        // see [Instance.Image]
	FormerImage   string                  `json:"former_image,omitempty"` // of the version before
	Guest         json.RawMessage         `json:"guest"`
}

// Fault is why an operation failed, for a person.
type Fault struct {
	Message string    `json:"message"`
	Details string    `json:"details,omitempty"` // for admins
	Created time.Time `json:"created"`
}

// Event is one line of an instance's timeline.
type Event struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"` // "step", "done", "fault", "status", "progress", "note"
	Message string    `json:"message"`
	Request string    `json:"request,omitempty"`
}
