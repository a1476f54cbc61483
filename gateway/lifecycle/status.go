package lifecycle

import (
	"strings"

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
	StatusDetach          = "DETACH"
	StatusPromote         = "PROMOTE"
	StatusEject           = "EJECT"
)

// statusOf is what an operation looks like from outside; a configure is over before anybody looks.
var statusOf = map[string]string{
	Create: StatusBuild, Restart: StatusReboot, Delete: StatusShutdown, Backup: StatusBackup, Resize: StatusResize,
	Upgrade: StatusUpgrade, Detach: StatusDetach, Promote: StatusPromote, Eject: StatusEject,
}

// Status works out the API's status.
func Status(in etcdschema.Instance) string {
	if in.Failed != "" && (in.Operation == nil || in.Failed == Delete) { // else another operation is under way, which may mend it
		return StatusError
	}
	if in.Operation != nil && statusOf[in.Operation.Kind] != "" {
		return statusOf[in.Operation.Kind]
	}
	for _, h := range in.Holds {
		if statusOf[h.Kind] != "" {
			return statusOf[h.Kind]
		}
	}
	if in.RestartRequired {
		return StatusRestartRequired
	}
	return StatusActive
}

// OperatingStatus works out the API's operating_status: the database server's own, told only when nothing is being done.
func OperatingStatus(in etcdschema.Instance) string {
	if in.Operation != nil || in.Failed != "" || len(in.Holds) > 0 {
		return ""
	}
	return strings.ToUpper(string(in.Service.Service))
}
