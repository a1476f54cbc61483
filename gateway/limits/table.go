package limits

import "github.com/cofferdb/coffer/agentpoll"

// MaxWord is how long the name of a character set or a collation may be, in bytes.
const MaxWord = 64

// MaxDrills is of how many drills of an instance is kept what was found, and MaxQuestion how long the query of one and its answer may be, in bytes.
const (
	MaxDrills   = 30
	MaxQuestion = 4 * KiB
)

// MaxModule is how much may be in a module, in bytes, and MaxInstanceModules how many an instance may have: a command carries them all.
const (
	MaxModule          = 32 * KiB
	MaxInstanceModules = 6
)

// Limits of a project that nobody has set, Trove's: max_instances_per_tenant and its fellows.
const (
	defaultInstances      = 10
	defaultRAM            = -1 // MB; no limit
	defaultVolumes        = 40 // GB
	defaultBackups        = 50
	defaultConfigurations = 100
	defaultBackupGB       = 1000 // Cinder's backup_gigabytes
	defaultLogGB          = 10
	defaultDrills         = 2
	defaultModules        = 50
)

// Row is one row of what anybody may send, hold or do.
type Row struct {
	// Name is what -limit calls it, and the label of coffer_refused_total.
	Name  string
	Value int64 // unless a setting or a project's quota says otherwise; -1: no limit
	Unit  string
	Of    string // for whom it is counted
	Fault string // what is told to who wants more
	Set   string // "-limit", with "quota" where a project may have its own, or "" for what is as it is
	Doc   string
}

// Ways to set a limit.
const (
	byFlag  = "`-limit`"
	byQuota = "quota, `-limit`"
)

const (
	KiB = 1 << 10
	MiB = 1 << 20
)

// Table is every limit. docs/security.md is held against it.
func Table() []Row {
	return []Row{
		{"body", MaxRequestBody, "bytes", "a request", "413", "", "the body of a request to the API"},
		{"identity_body", identityBody, "bytes", "a request", "413", "", "the body of a request to the identity service"},
		{"agent_body", agentpoll.MaxBody, "bytes", "a call", "413", "", "the body of an agent's call"},
		{"segment", agentpoll.MaxSegment, "bytes", "a call", "413", "", "the index of a backup; another segment has 8 MiB, a chunk of a log 1 MiB"},
		{"headers", agentpoll.MaxHeader, "bytes", "a request", "431", "", "all headers"},
		{"body_seconds", 20, "seconds", "a request", "408", byFlag, "until the body must have come; agents' calls have 10, each read of a segment 30"},
		{"header_seconds", 5, "seconds", "a request", "closed", "", "until the headers must have come"},
		{"connections", 120_000, "connections", "a gateway", "closed", byFlag, "open at once, parked polls among them"},
		{"address_connections", 20_000, "connections", "an address", "closed", byFlag, "open at once; all clients of a proxy are one address"},

		{"entries", MaxEntries, "entries", "a request", "413", "", "in the lists of a body together"},
		{"name", MaxName, "characters", "a text", "400", "", "names; no control characters"},
		{"description", MaxDescription, "bytes", "a text", "400", "", "descriptions; a container and a volume type have 255"},
		{"values", MaxValues, "bytes", "a configuration group", "400", "", "its values, as JSON"},
		{"word", MaxWord, "bytes", "a text", "400", "", "character sets, collations"},

		{"instances", defaultInstances, "instances", "a project", "413", byQuota, ""},
		{"ram", defaultRAM, "MB", "a project", "413", byQuota, "memory of all its instances"},
		{"volumes", defaultVolumes, "GB", "a project", "413", byQuota, "size of all its volumes"},
		{"backups", defaultBackups, "backups", "a project", "413", byQuota, ""},
		{"backup_gigabytes", defaultBackupGB, "GB", "a project", "413", byQuota, "all its backups in the store; one that is made is charged as it grows"},
		{"log_gigabytes", defaultLogGB, "GB", "a project", "413", byQuota, "all that was published of its logs"},
		{"configurations", defaultConfigurations, "groups", "a project", "413", byQuota, "configuration groups"},
		{"schedules", 10, "schedules", "an instance", "413", byFlag, "of its backups"},
		{"default_schedules", 10, "schedules", "a project", "413", byFlag, "that its instances have without being asked"},
		{"modules", defaultModules, "modules", "a project", "413", byQuota, "that it has made"},
		{"instance_modules", MaxInstanceModules, "modules", "an instance", "413", "", "that it has"},
		{"auto_modules", MaxInstanceModules / 2, "modules", "a project, and all", "413", "", "that new instances get without being asked"},
		{"module", MaxModule, "bytes", "a module", "400", "", "what is in it"},
		{"drills", defaultDrills, "drills", "a project", "413", byQuota, "under way; what they make counts for no other quota"},
		{"kept_drills", MaxDrills, "drills", "an instance", "dropped", "", "of which is kept what was found, the newest"},
		{"question", MaxQuestion, "bytes", "a text", "400", "", "the query of a drill; so is its answer"},
		{"transfers", 8, "transfers", "a gateway", "429", "", "at the same time: backups that are exported, and brought in"},
		{"backup_factor", 2, "times the volume", "a backup", "413", byFlag, "and 1 GiB; without a volume, times the memory"},
		{"logs", 16, "logs", "an instance", "413", byFlag, "that were published; they go with the instance"},
		{"log_chunks", 1000, "chunks", "a log", "413", byFlag, "that were published, of 1 MiB at most each"},
		{"enrolments", 1000, "tokens", "all", "413", byFlag, "enrolment tokens that nobody has used"},
		{"events", 1000, "lines", "an instance", "dropped", "", "of its timeline, the newest; 30 days"},

		{"get", 6000, "a minute", "a project", "429", byFlag, "GET"},
		{"post", 600, "a minute", "a project", "429", byFlag, "POST"},
		{"put", 600, "a minute", "a project", "429", byFlag, "PUT and PATCH"},
		{"delete", 600, "a minute", "a project", "429", byFlag, "DELETE"},
		{"mgmt_post", 600, "a minute", "a project", "429", byFlag, "POST below mgmt"},
		{"write_bytes", 32 * KiB, "bytes a second", "a project", "429", byFlag, "bodies of POST, PUT and PATCH, each and 1 KiB, the values of a configuration group that is changed, and the record of an instance that is changed (twice for an operation); two minutes' worth at once"},

		{"agent_bytes", 32 * KiB, "bytes a second", "an agent", "429", byFlag, "bodies of its calls, each and 128 bytes, a status 32 KiB, progress 16 KiB; two minutes' worth at once"},
		{"progress", 1, "a second", "a command", "429", "", "reports of progress"},
		{"csr", agentpoll.MaxCSR, "bytes", "a call", "400", "", "a request for a certificate"},
		{"certificates", 1, "a minute", "an agent", "429", "", "certificates that are signed; 10 at once"},
		{"message", maxMessage, "bytes", "a text", "cut", "", "what agents say for a person"},
		{"status", MaxStatus, "bytes", "a call", "400", "", "a guest's status"},
		{"announcement", MaxAnnouncement, "bytes", "a call", "400", "", "what a host says of itself"},
		{"tokens", 2, "a second", "a user", "429", byFlag, "logins; a minute's worth at once"},
		{"token_chain", 10, "tokens", "a token", "403", "", "that it was made from, each from the one before; revoking one revokes those after it"},
		{"login", 10, "wrong passwords", "a user", "429", "", "at once, and one more each 6 s; 30 of an address, and one more each second, see below"},
		{"enrol", 5, "a second", "an address", "429", byFlag, "enrolments, ten times as many at once"},
		{"unknown_credentials", 10, "a second", "an address", "429", "", "agents' calls with a credential that is not known, ten times as many at once"},
	}
}

// What texts may have.
const (
	MaxName         = 255 // characters
	MaxDescription  = 1024
	MaxContainer    = 255
	MaxValues       = 64 * KiB
	maxMessage      = 1 * KiB
	MaxStatus       = 16 * KiB
	MaxAnnouncement = 512 * KiB
	identityBody    = 64 * KiB
)

const (
	MaxRequestBody = 1 << 20 // bytes
	// MaxEntries is how many entries the lists of one request's body may hold together: databases, users and what each may use,
	// networks. What a guest is asked for then fits into one record, and into the time that a call has.
	MaxEntries = 256
)
