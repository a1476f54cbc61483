package etcdschema

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema/strict"
)

// The two halves of the schema. Nothing under Server is ever told to an agent.
const (
	ServerPrefix = strict.ServerPrefix
	GuestPrefix  = strict.GuestPrefix
)

// Patterns of the keys; "*" is a variable part.
const (
	datastorePattern     = "/server/datastores/*"
	versionPattern       = "/server/datastores/*/*"
	guestOptionsPattern  = "/guest/datastores/*/*"
	flavorPattern        = "/server/flavors/*"
	quotaPattern         = "/server/projects/*/quota"
	usagePattern         = "/server/projects/*/usage"
	instancePattern      = "/server/instances/*/*"
	deletedPattern       = "/server/deleted/*/*"
	defaultsPattern      = "/server/defaults/*"
	setPattern           = "/server/sets/*/*"
	backupPattern        = "/server/backups/*/*"
	archivePattern       = "/server/archives/*/*"
	drillsPattern        = "/server/drills/*/*"
	objectivesPattern    = "/server/objectives/*/*"
	maintenancePattern   = "/server/maintenance/*/*"
	missedPattern        = "/server/missed/*/*/*"
	backupStratPattern   = "/server/backup-strategies/*/*"
	streamKeyPattern     = "/server/projects/*/backup-key"
	projectCAPattern     = "/server/projects/*/authority"
	configurationPattern = "/server/configurations/*/*"
	modulePattern        = "/server/modules/*/*"
	sharedModulePattern  = "/server/shared-modules/*"
	contentsPattern      = "/server/module-contents/*"
	moduleTurnPattern    = "/server/module-turn"
	schedulePattern      = "/server/schedules/*/*"
	eventPattern         = "/server/events/*/*"
	auditPattern         = "/server/audit/*"
	auditRowsPattern     = "/server/audit-rows/*/*"
	takenOverPattern     = "/server/taken-over/*"
	sealingKeyPattern    = "/server/sealing-keys/*"
	duePattern           = "/server/due/*/*/*/*"
	hostPattern          = "/server/hosts/*"
	hostCheckPattern     = "/server/checks/*"
	gatewayPattern       = "/server/gateways/*"
	epochPattern         = "/guest/epoch"
	authorityPattern     = "/server/authorities/*"
	userPattern          = "/server/identity/users/*"
	projectPattern       = "/server/identity/projects/*"
	nameIDPattern        = "/server/identity/names/*"
	tokenPattern         = "/server/identity/tokens/*"
	attemptsPattern      = "/server/identity/attempts/*"
	agentPattern         = "/guest/agents/*"
	enrolmentPattern     = "/guest/enrolments/*"
	instanceGuestPattern = "/guest/instances/*"
	presencePattern      = "/guest/presence/*"
	pollsPattern         = "/guest/gateways/*"
	openedPattern        = "/guest/opened"
	commandPattern       = "/guest/commands/*/*"
	resultPattern        = "/guest/results/*"
)

// KeyDoc is one row of the schema: docs/schema.md is made of them.
type KeyDoc struct{ Pattern, Record, Writer, Lease, Doc string }

// Keys returns the whole schema.
func Keys() []KeyDoc {
	return []KeyDoc{
		{datastorePattern, "Datastore", "operator", "", "a datastore: its default version, description, whether it is offered"},
		{versionPattern, "datastores.ServerOptions", "operator", "", "the server half of a datastore version's definition"},
		{guestOptionsPattern, "datastores.GuestOptions and the plug-in's own", "operator", "", "the guest half"},
		{flavorPattern, "Flavor", "operator", "", "how much memory, processor and disk an instance gets"},
		{quotaPattern, "Quota", "operator", "", "a project's limits; what is absent has the gateway's default"},
		{usagePattern, "Usage", "gateway", "", "what a project uses; changed with what it counts"},
		{instancePattern, "Instance", "gateway", "", "an instance: what it is, its operation with step and deadline, its fault"},
		{deletedPattern, "Deleted", "gateway", "30 days", "what is told of an instance that was deleted"},
		{defaultsPattern, "Defaults", "gateway", "", "what an instance's server has without a configuration group, for when its guest cannot be asked"},
		{setPattern, "Set", "gateway", "", "instances that are one thing: members with their roles, and the operation that touches more than one of them"},
		{backupPattern, "Backup", "gateway", "", "a backup: how it was made, its parent, how many segments, the SHA-256 of their index"},
		{archivePattern, "Archive", "gateway", "", "what was shipped of an instance's log: its windows, each a number of segments; it goes with the last backup that needs it"},
		{drillsPattern, "Drills", "gateway", "", "trials of restoring what is kept of an instance: the one under way, and what was found by those before; it goes with the instance"},
		{objectivesPattern, "Objectives", "gateway", "", "how old what is kept of an instance may be and how long a restore may take, if somebody has asked, and what of it is missed; it goes with the instance"},
		{maintenancePattern, "Maintenance", "gateway", "", "when an operator may interrupt an instance, a set, a cluster or, by default, any of a project, and what waits for that; it goes with them"},
		{missedPattern, "Missed", "gateway", "", "an objective that is missed: which, project and instance; what an operator counts"},
		{backupStratPattern, "BackupStrategy", "gateway", "", "the container of backups, of an instance by its id or of the whole project"},
		{streamKeyPattern, "StreamKey", "gateway", "", "what seals the project's backups, sealed with the gateways' key; without it they cannot be read"},
		{configurationPattern, "Configuration", "gateway", "", "a configuration group: its values, and which instances have it"},
		{modulePattern, "Module", "gateway", "", "a module: its type, what it is for, how many instances have it"},
		{sharedModulePattern, "Module", "gateway", "", "a module of all projects"},
		{contentsPattern, "ModuleContents", "gateway", "", "what is in a module, sealed with the gateways' key"},
		{moduleTurnPattern, "ModuleTurn", "gateway", "", "the module that was made or renamed last: what two of them may not have in common holds between those that are made at once"},
		{schedulePattern, "Schedule", "gateway", "", "when an instance is backed up, what is kept, and how the last run went"},
		{eventPattern, "Event", "gateway", "30 days", "one line of an instance's timeline"},
		{auditPattern, "Audit", "gateway", "", "the newest rows of an agent's commands that have changed something and have ended, each chained to the one before; written with the result"},
		{auditRowsPattern, "AuditRows", "gateway", "", "rows before those, as many as the window has; the oldest go as new ones come, all of them with the agent"},
		{duePattern, "Due", "gateway", "", "what is due: its kind, when (UTC), project and id. It goes with the record whose time it is, may be early and is never late"},
		{takenOverPattern, "TakenOver", "gateway", "", "what earlier releases wrote of a kind is as this one expects it; before that every record is looked at when a gateway starts"},
		{sealingKeyPattern, "SealingKey", "gateway", "", "something may be sealed with this key of the key file, by its id: a gateway that lacks it does not start"},
		{hostPattern, "HostRecord", "gateway", "", "a host: its machine, its allocations"},
		{hostCheckPattern, "HostCheck", "gateway", "", "what a host offers and says of definitions: managers, images, notes; wrong options, what it cannot serve and why"},
		{gatewayPattern, "Gateway", "gateway", "session", "a running gateway"},
		{epochPattern, "Epoch", "gateway", "", "names this etcd's history; `coffer epoch new` after a restore from a snapshot"},
		{projectCAPattern, "Authority", "gateway", "", "the authority that signs the certificates of the project's database servers, its key sealed with the gateways' key"},
		{authorityPattern, "Authority", "gateway", "", "a certificate authority: its certificate, its key sealed with the gateways' key; `gateways` signs their own certificates, `gateways-other` is there while another takes its place; `commands` has a key alone, of which gateways make those that sign what agents are asked"},
		{userPattern, "IdentityUser", "gateway", "", "a user of the built-in identity: argon2id hash, roles by project"},
		{projectPattern, "IdentityProject", "gateway", "", "a project of the built-in identity"},
		{nameIDPattern, "IdentityName", "gateway", "", "whose the name of a user or project is, by the SHA-256 of it: names are unique, any case"},
		{tokenPattern, "IdentityToken", "gateway", "until it expires", "a token, by the SHA-256 of it"},
		{attemptsPattern, "IdentityAttempts", "gateway", "30 days", "wrong passwords of a user or an address, by the SHA-256 of which"},
		{agentPattern, "Agent", "gateway", "", "an enrolled agent: credential hash, public key, capabilities"},
		{enrolmentPattern, "Enrolment", "gateway, operator", "1 hour", "a single-use enrolment token, by the SHA-256 of it"},
		{instanceGuestPattern, "guest options", "gateway", "", "an instance's effective guest options, copied at create"},
		{presencePattern, "Presence", "gateway", "", "which gateway holds the agent's poll, or since when nobody does"},
		{pollsPattern, "GatewayPolls", "gateway", "30 days after it left", "a gateway that holds agents' polls, or since when it is gone"},
		{openedPattern, "Opened", "gateway", "", "since when there has been a gateway without a gap: agents had no way to call before"},
		{commandPattern, "Command", "gateway", "", "a pending command"},
		{resultPattern, "CommandResult", "gateway", "10 minutes", "how a command ended"},
	}
}

func DatastoreKey(name string) Key[Datastore] {
	return key[Datastore](datastorePattern, aName("datastore", name))
}

func VersionKey(name, version string) Key[datastores.ServerOptions] {
	return key[datastores.ServerOptions](versionPattern, aName("datastore", name), aName("version", version))
}

func GuestOptionsKey(name, version string) Key[json.RawMessage] {
	return key[json.RawMessage](guestOptionsPattern, aName("datastore", name), aName("version", version))
}

func FlavorKey(id string) Key[Flavor]    { return key[Flavor](flavorPattern, aName("flavor", id)) }
func Flavors() Prefix[Flavor]            { return Prefix[Flavor]{path: "/server/flavors/"} }
func QuotaKey(project string) Key[Quota] { return key[Quota](quotaPattern, aName("project", project)) }
func UsageKey(project string) Key[Usage] { return key[Usage](usagePattern, aName("project", project)) }

func InstanceKey(project, id string) Key[Instance] {
	return key[Instance](instancePattern, aName("project", project), anID("instance", id))
}

func Instances(project string) Prefix[Instance] {
	return prefix[Instance]("/server/instances/*/", aName("project", project))
}

// AllInstances is every project's. Its names are "project/id".
func AllInstances() Prefix[Instance] { return Prefix[Instance]{path: "/server/instances/"} }

func DefaultsKey(instance string) Key[Defaults] {
	return key[Defaults](defaultsPattern, anID("instance", instance))
}

// DeletedKey is the place of what is told of an instance that was deleted.
func DeletedKey(project, id string) Key[Deleted] {
	return key[Deleted](deletedPattern, aName("project", project), anID("instance", id))
}

func DeletedOf(project string) Prefix[Deleted] {
	return prefix[Deleted]("/server/deleted/*/", aName("project", project))
}

// AllDeleted is every project's. Its names are "project/id".
func AllDeleted() Prefix[Deleted] { return Prefix[Deleted]{path: "/server/deleted/"} }

func SetKey(project, id string) Key[Set] {
	return key[Set](setPattern, aName("project", project), anID("set", id))
}

func Sets(project string) Prefix[Set] {
	return prefix[Set]("/server/sets/*/", aName("project", project))
}

// AllSets is every project's. Its names are "project/id".
func AllSets() Prefix[Set] { return Prefix[Set]{path: "/server/sets/"} }

func BackupKey(project, id string) Key[Backup] {
	return key[Backup](backupPattern, aName("project", project), anID("backup", id))
}

func Backups(project string) Prefix[Backup] {
	return prefix[Backup]("/server/backups/*/", aName("project", project))
}

// AllBackups is every project's. Its names are "project/id".
func AllBackups() Prefix[Backup] { return Prefix[Backup]{path: "/server/backups/"} }

// ArchiveKey is the place of what was shipped of an instance's log.
func ArchiveKey(project, instance string) Key[Archive] {
	return key[Archive](archivePattern, aName("project", project), anID("instance", instance))
}

// DrillsKey is the place of an instance's drills.
func DrillsKey(project, instance string) Key[Drills] {
	return key[Drills](drillsPattern, aName("project", project), anID("instance", instance))
}

// AllDrills are every project's. Their names are "project/instance".
func AllDrills() Prefix[Drills] { return Prefix[Drills]{path: "/server/drills/"} }

// ObjectivesKey is the place of the bounds that were asked for of an instance.
func ObjectivesKey(project, instance string) Key[Objectives] {
	return key[Objectives](objectivesPattern, aName("project", project), anID("instance", instance))
}

// MaintenanceKey is the place of the maintenance of an instance, a set by its source, or a cluster; with subject "" of the project's default.
func MaintenanceKey(project, subject string) Key[Maintenance] {
	return key[Maintenance](maintenancePattern, aName("project", project), aName("subject", cmp.Or(subject, WholeProject)))
}

// MaintenanceOf are those of a project, its default among them.
func MaintenanceOf(project string) Prefix[Maintenance] {
	return prefix[Maintenance]("/server/maintenance/*/", aName("project", project))
}

// MissedKey is there while an instance misses an objective.
func MissedKey(objective, project, instance string) Key[Missed] {
	return key[Missed](missedPattern, aName("objective", objective), aName("project", project), anID("instance", instance))
}

// MissedOf are all that miss an objective.
func MissedOf(objective string) Prefix[Missed] {
	return prefix[Missed]("/server/missed/*/", aName("objective", objective))
}

// BackupStrategyKey is an instance's, or with instance "" the whole project's.
func BackupStrategyKey(project, instance string) Key[BackupStrategy] {
	return key[BackupStrategy](backupStratPattern, aName("project", project), aName("instance", cmp.Or(instance, WholeProject)))
}

func BackupStrategies(project string) Prefix[BackupStrategy] {
	return prefix[BackupStrategy]("/server/backup-strategies/*/", aName("project", project))
}

// WholeProject stands where the id of an instance would.
const WholeProject = "project"

func StreamKeyKey(project string) Key[StreamKey] {
	return key[StreamKey](streamKeyPattern, aName("project", project))
}

// ProjectStreamKeys are those of all projects, among other records. Their names are "project/backup-key".
func ProjectStreamKeys() Prefix[StreamKey] { return Prefix[StreamKey]{path: "/server/projects/"} }

func ConfigurationKey(project, id string) Key[Configuration] {
	return key[Configuration](configurationPattern, aName("project", project), anID("configuration", id))
}

func Configurations(project string) Prefix[Configuration] {
	return prefix[Configuration]("/server/configurations/*/", aName("project", project))
}

// ModuleKey is the place of a module of one project.
func ModuleKey(project, id string) Key[Module] {
	return key[Module](modulePattern, aName("project", project), anID("module", id))
}

func Modules(project string) Prefix[Module] {
	return prefix[Module]("/server/modules/*/", aName("project", project))
}

// AllModules are those of every project that are not of all projects. Their names are "project/id".
func AllModules() Prefix[Module] { return Prefix[Module]{path: "/server/modules/"} }

// SharedModuleKey is the place of a module of all projects.
func SharedModuleKey(id string) Key[Module] {
	return key[Module](sharedModulePattern, anID("module", id))
}
func SharedModules() Prefix[Module] { return Prefix[Module]{path: "/server/shared-modules/"} }

// ModuleContentsKey is the place of what is in a module, whosever it is.
func ModuleContentsKey(id string) Key[ModuleContents] {
	return key[ModuleContents](contentsPattern, anID("module", id))
}

// ModuleTurnKey is the place of what modules are made in turn by.
func ModuleTurnKey() Key[ModuleTurn] { return key[ModuleTurn](moduleTurnPattern) }

func AllModuleContents() Prefix[ModuleContents] {
	return Prefix[ModuleContents]{path: "/server/module-contents/"}
}

func ScheduleKey(project, id string) Key[Schedule] {
	return key[Schedule](schedulePattern, aName("project", project), anID("schedule", id))
}

func Schedules(project string) Prefix[Schedule] {
	return prefix[Schedule]("/server/schedules/*/", aName("project", project))
}

// AllSchedules is every project's. Its names are "project/id".
func AllSchedules() Prefix[Schedule] { return Prefix[Schedule]{path: "/server/schedules/"} }

// AllConfigurations is every project's. Its names are "project/id".
func AllConfigurations() Prefix[Configuration] {
	return Prefix[Configuration]{path: "/server/configurations/"}
}

// EventKey is the place of line seq of an instance's timeline.
func EventKey(instance string, seq int64) Key[Event] {
	return key[Event](eventPattern, anID("instance", instance), aName("event", fmt.Sprintf("%012d", seq)))
}

func Events(instance string) Prefix[Event] {
	return prefix[Event]("/server/events/*/", anID("instance", instance))
}

func AuditKey(agent string) Key[Audit] { return key[Audit](auditPattern, anID("agent", agent)) }

// AuditRowsKey is the place of the rows of an agent that end before number next.
func AuditRowsKey(agent string, next int64) Key[AuditRows] {
	return key[AuditRows](auditRowsPattern, anID("agent", agent), aName("row", fmt.Sprintf("%012d", next)))
}

func AllAuditRows(agent string) Prefix[AuditRows] {
	return prefix[AuditRows]("/server/audit-rows/*/", anID("agent", agent))
}

func HostKey(id string) Key[HostRecord] { return key[HostRecord](hostPattern, anID("host", id)) }
func Hosts() Prefix[HostRecord]         { return Prefix[HostRecord]{path: "/server/hosts/"} }

// HostCheckKey is the place of what a host says of definitions.
func HostCheckKey(id string) Key[HostCheck] {
	return key[HostCheck](hostCheckPattern, anID("host", id))
}
func HostChecks() Prefix[HostCheck] { return Prefix[HostCheck]{path: "/server/checks/"} }

func GatewayKey(id string) Key[Gateway] { return key[Gateway](gatewayPattern, anID("gateway", id)) }
func Gateways() Prefix[Gateway]         { return Prefix[Gateway]{path: "/server/gateways/"} }

// GatewaysAuthorityKey is the authority that signs the gateways' own certificates.
func GatewaysAuthorityKey() Key[Authority] { return AuthorityKey("gateways") }

// OtherGatewaysAuthorityKey is the authority that will sign them, or has signed them, while one takes the other's place.
func OtherGatewaysAuthorityKey() Key[Authority] { return AuthorityKey("gateways-other") }

// CommandsAuthorityKey is the key that signs commands.
func CommandsAuthorityKey() Key[Authority] { return AuthorityKey("commands") }

// ProjectAuthorityKey is the authority that signs the certificates of a project's database servers.
func ProjectAuthorityKey(project string) Key[Authority] {
	return key[Authority](projectCAPattern, aName("project", project))
}

// ProjectAuthorities are all of them. Other records of projects are there too: the names of these end in "/authority".
func ProjectAuthorities() Prefix[Authority] { return Prefix[Authority]{path: "/server/projects/"} }

func AuthorityKey(name string) Key[Authority] {
	return key[Authority](authorityPattern, aName("authority", name))
}

func Authorities() Prefix[Authority] { return Prefix[Authority]{path: "/server/authorities/"} }

func EpochKey() Key[Epoch]          { return Key[Epoch]{path: epochPattern} }
func AgentKey(id string) Key[Agent] { return key[Agent](agentPattern, anID("agent", id)) }
func Agents() Prefix[Agent]         { return Prefix[Agent]{path: "/guest/agents/"} }
func EnrolmentKey(hash string) Key[Enrolment] {
	return key[Enrolment](enrolmentPattern, aHash("enrolment token hash", hash))
}

// Enrolments are all tokens, used and unused.
func Enrolments() Prefix[Enrolment] { return Prefix[Enrolment]{path: "/guest/enrolments/"} }

func InstanceGuestKey(id string) Key[json.RawMessage] {
	return key[json.RawMessage](instanceGuestPattern, anID("instance", id))
}

func PresenceKey(agent string) Key[Presence] {
	return key[Presence](presencePattern, anID("agent", agent))
}
func AllPresence() Prefix[Presence] { return Prefix[Presence]{path: "/guest/presence/"} }

// GatewayPollsKey is the place of what presence records that name a gateway are worth.
func GatewayPollsKey(id string) Key[GatewayPolls] {
	return key[GatewayPolls](pollsPattern, anID("gateway", id))
}
func AllGatewayPolls() Prefix[GatewayPolls] { return Prefix[GatewayPolls]{path: "/guest/gateways/"} }
func OpenedKey() Key[Opened]                { return Key[Opened]{path: openedPattern} }

func CommandKey(agent, id string) Key[Command] {
	return key[Command](commandPattern, anID("agent", agent), anID("command", id))
}

func Commands(agent string) Prefix[Command] {
	return prefix[Command]("/guest/commands/*/", anID("agent", agent))
}

// AllCommands is every agent's. Its names are "agent/command".
func AllCommands() Prefix[Command] { return Prefix[Command]{path: "/guest/commands/"} }

func ResultKey(command string) Key[CommandResult] {
	return key[CommandResult](resultPattern, anID("command", command))
}

func Results() Prefix[CommandResult] { return Prefix[CommandResult]{path: "/guest/results/"} }

func IdentityUserKey(id string) Key[IdentityUser] {
	return key[IdentityUser](userPattern, aName("user", id))
}
func IdentityUsers() Prefix[IdentityUser] {
	return Prefix[IdentityUser]{path: "/server/identity/users/"}
}

func IdentityProjectKey(id string) Key[IdentityProject] {
	return key[IdentityProject](projectPattern, aName("project", id))
}
func IdentityProjects() Prefix[IdentityProject] {
	return Prefix[IdentityProject]{path: "/server/identity/projects/"}
}

// IdentityNameKey is the place of the claim on a name of a "user" or "project". Names that differ in case only are one.
func IdentityNameKey(kind, name string) Key[IdentityName] {
	sum := sha256.Sum256([]byte(kind + ":" + strings.ToLower(name)))
	return key[IdentityName](nameIDPattern, aHash("name", hex.EncodeToString(sum[:])))
}

// IdentityTokenKey is the place of the token with the given SHA-256, in hexadecimal digits.
func IdentityTokenKey(hash string) Key[IdentityToken] {
	return key[IdentityToken](tokenPattern, aHash("token hash", hash))
}

// IdentityAttemptsKey is the place of the wrong passwords of somebody: of a "user", an "address", or a "user and address" together.
func IdentityAttemptsKey(kind, who string) Key[IdentityAttempts] {
	sum := sha256.Sum256([]byte(kind + ":" + who))
	return key[IdentityAttempts](attemptsPattern, aHash("attempts hash", hex.EncodeToString(sum[:])))
}
