// Package group is what MySQL servers that are a group are told and say, all of which take writes (group replication): what a member's option file
// has, how a member gets on, and where one goes that is outside, by the others' answers or, when there is no group, by who has most.
package group

import (
	"net"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// Member is what a server needs to know to be one. Members come to each other where clients do, and log in: there is no port of the group's own.
type Member struct {
	Cluster string // its UUID
	Address string // the member's own
	Port    int    // where clients and members come
	TLS     datastores.ServerTLS
}

// Seconds until a member does without one that says nothing, and until a member that reaches too few leaves by itself, so that nobody waits for it.
const (
	ExpelSeconds = 0 // after the five that nothing changes
	aloneSeconds = 5
)

// Settings are those of the server. What they differ in from an instance's own counts over it. A member is closed to all but guests and
// members, until its guest has seen that it is in the group: what it says before may be old.
func (m Member) Settings() []configfile.Setting {
	settings := []configfile.Setting{
		{Name: "plugin_load_add", Value: "group_replication.so"},
		{Name: "report_host", Value: m.Address},
		{Name: "read_only", Value: "ON"},
		{Name: "offline_mode", Value: "ON"},
		// What a member has received it has promised to apply, and nobody else need have it any more.
		{Name: "relay_log_recovery", Value: "OFF"},
	}
	group := []configfile.Setting{
		{Name: "group_name", Value: m.Cluster},
		{Name: "start_on_boot", Value: "OFF"},
		{Name: "communication_stack", Value: "MYSQL"},
		{Name: "local_address", Value: at(m.Address, m.Port)},
		// A client may write at any member, and what was acknowledged is at all of them.
		{Name: "single_primary_mode", Value: "OFF"},
		{Name: "enforce_update_everywhere_checks", Value: "ON"},
		{Name: "consistency", Value: "AFTER"},
		{Name: "member_expel_timeout", Value: strconv.Itoa(ExpelSeconds)},
		{Name: "unreachable_majority_timeout", Value: strconv.Itoa(aloneSeconds)},
		{Name: "exit_state_action", Value: "OFFLINE_MODE"},
		{Name: "autorejoin_tries", Value: "0"}, // its guest tries sooner
		{Name: "recovery_get_public_key", Value: "ON"},
	}
	if m.TLS.On() {
		group = append(group, []configfile.Setting{
			{Name: "ssl_mode", Value: "VERIFY_IDENTITY"},
			{Name: "recovery_use_ssl", Value: "ON"},
			{Name: "recovery_ssl_ca", Value: m.TLS.AuthorityFile()},
			{Name: "recovery_ssl_verify_server_cert", Value: "ON"},
		}...)
	}
	for _, s := range group { // a server that is asked whether it would start has no plug-ins
		settings = append(settings, configfile.Setting{Name: "loose_group_replication_" + s.Name, Value: s.Value})
	}
	return settings
}

func at(address string, port int) string { return net.JoinHostPort(address, strconv.Itoa(port)) }

// Overrule drops settings that a member has otherwise.
func Overrule(settings []configfile.Setting) []configfile.Setting {
	return slices.DeleteFunc(slices.Clone(settings), func(s configfile.Setting) bool {
		return slices.Contains([]string{"read_only", "offline_mode", "relay_log_recovery"}, s.Name)
	})
}
