package lifecycle

import (
	"cmp"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// What clients see as an instance's status (Trove 18; terraform and gophercloud wait for these words).
const (
	StatusBuild           = "BUILD"
	StatusActive          = "ACTIVE"
	StatusError           = "ERROR"
	StatusReboot          = "REBOOT"
	StatusShutdown        = "SHUTDOWN"
	StatusRestartRequired = "RESTART_REQUIRED"
	StatusBackup          = "BACKUP"
	StatusResize          = "RESIZE"
	StatusUpgrade         = "UPGRADE"
	StatusMigrating       = "MIGRATING"
	StatusDetach          = "DETACH"
	StatusPromote         = "PROMOTE"
	StatusEject           = "EJECT"
)

// Status works out the API's status.
func Status(in Member) string { return standard().status(in) }

func (r *rules) status(in Member) string {
	doing := in.Doing()
	if in.Failed != "" && (doing == nil || in.Failed == Delete) { // else another operation is under way, which may mend it
		return StatusError
	}
	kind, _ := in.held()
	if kind == "" && in.Clustered() && in.Set.Failed != "" && in.Set.Member(in.ID).State == etcdschema.MemberOutside {
		return StatusError // it is no member of anything
	}
	if doing != nil && r.operation(doing.Kind).Status != "" {
		kind = doing.Kind
	}
	if doing != nil && doing.Resizes { // clients that asked for another size wait for its word
		return StatusResize
	}
	if status := r.operation(kind).Status; status != "" {
		return status
	}
	if in.RestartRequired {
		return StatusRestartRequired
	}
	return StatusActive
}

// OperatingStatus works out the API's operating_status: the database server's own, told only when nothing is being done. A replica
// that does not follow its source is RUNNING: Trove's word for a server that runs and is not what it should be.
func OperatingStatus(in Member) string {
	if in.Operation != nil || in.Failed != "" || in.isHeld() {
		return ""
	}
	if in.Service.Service == datastores.StatusHealthy && Astray(in) != "" {
		return "RUNNING"
	}
	return strings.ToUpper(string(in.Service.Service))
}

// Astray says why a replica does not follow its source. It is "" of a replica that does, as far as its guest has told, and of
// what is no replica.
func Astray(in Member) string {
	f := in.Service.Replication
	if in.ReplicaOf() == "" || !in.Prepared || f == nil || f.Follows {
		return ""
	}
	if f.Role == datastores.RoleSource {
		return "its server follows nobody"
	}
	return cmp.Or(f.Why, "its server does not say why")
}

// tellFollowing puts into the timeline that a replica has ceased to follow its source, or follows again. was is what Astray said
// before.
func (d *decision) tellFollowing(was string) {
	switch is := Astray(d.self()); {
	case (was == "") == (is == ""):
	case is == "":
		d.tell("status", "the replica follows its source again")
	default:
		d.tell("status", "the replica does not follow its source: "+is)
	}
}
