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

// Status works out the API's status.
func Status(in etcdschema.Instance) string { return standard().status(in) }

func (r *rules) status(in etcdschema.Instance) string {
	if in.Failed != "" && (in.Operation == nil || in.Failed == Delete) { // else another operation is under way, which may mend it
		return StatusError
	}
	kinds := make([]string, 0, 1+len(in.Claims))
	if in.Operation != nil {
		kinds = append(kinds, in.Operation.Kind)
	}
	for _, h := range in.Claims {
		kinds = append(kinds, h.Kind)
	}
	for _, kind := range kinds {
		if status := r.operation(kind).Status; status != "" {
			return status
		}
	}
	if in.RestartRequired {
		return StatusRestartRequired
	}
	return StatusActive
}

// OperatingStatus works out the API's operating_status: the database server's own, told only when nothing is being done.
func OperatingStatus(in etcdschema.Instance) string {
	if in.Operation != nil || in.Failed != "" || len(in.Claims) > 0 {
		return ""
	}
	return strings.ToUpper(string(in.Service.Service))
}
