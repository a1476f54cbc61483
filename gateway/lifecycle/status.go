package lifecycle

import (
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
)

// Status works out the API's status.
func Status(in etcdschema.Instance) string {
	switch {
	case in.Failed != "":
		return StatusError
	case in.Operation != nil && in.Operation.Kind == Create:
		return StatusBuild
	case in.Operation != nil && in.Operation.Kind == Restart:
		return StatusReboot
	case in.Operation != nil && in.Operation.Kind == Delete:
		return StatusShutdown
	case in.RestartRequired:
		return StatusRestartRequired
	}
	return StatusActive
}

// OperatingStatus works out the API's operating_status: the database server's own, told only when nothing is being done.
func OperatingStatus(in etcdschema.Instance) string {
	if in.Operation != nil || in.Failed != "" {
		return ""
	}
	return strings.ToUpper(string(in.Service.Service))
}

// Serves tells whether the guest can be asked for something that needs the database server; when not, why.
func Serves(in etcdschema.Instance) error {
	if !in.Prepared || (in.Operation != nil && in.Operation.Kind != Restart) {
		return notAllowed(in.ID, Status(in))
	}
	switch in.Service.Service {
	case datastores.StatusShutdown, datastores.StatusCrashed:
		return notAllowed(in.ID, strings.ToUpper(string(in.Service.Service)))
	}
	return nil
}
