// Package galera is what a member of a Galera cluster of MariaDB is told in its option file, and what it says of itself: in its
// variables, and in the file that it leaves in its data directory. It runs nothing.
package galera

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// Ports of the members among themselves: the group, what a member missed that was away, and the copy for a new one.
const (
	GroupPort   = 4567
	MissedPort  = 4568
	CopyPort    = 4444
	libraryName = "libgalera_smm.so"
)

// Library is where Debian's package galera-4 has the provider.
const Library = "/usr/lib/galera/" + libraryName

// Member is what a server needs to know to be one.
type Member struct {
	Cluster   string   // its UUID
	Name      string   // the member's own
	Address   string   // the member's own
	Addresses []string // those of members that it looks for; none: it founds the cluster, or goes on with it alone
	Port      int      // where clients come
	From      string   // its [Position]; "": it has nothing of the cluster's
	TLS       datastores.ServerTLS
	// Account, of this server alone, may copy it, by the socket. Password is a generated one: letters and digits.
	Account  string
	Password datastores.Secret
}

// Settings are those of the server. What they differ in from an instance's own counts over it.
func (m Member) Settings() []configfile.Setting {
	settings := []configfile.Setting{
		{Name: "wsrep_on", Value: "ON"},
		{Name: "wsrep_provider", Value: Library},
		{Name: "wsrep_cluster_name", Value: strings.ReplaceAll(m.Cluster, "-", "")}, // of more than 32 characters nobody is heard
		{Name: "wsrep_cluster_address", Value: "gcomm://" + strings.Join(m.Addresses, ",")},
		{Name: "wsrep_node_name", Value: m.Name},
		{Name: "wsrep_node_address", Value: m.Address},
		{Name: "wsrep_node_incoming_address", Value: m.at(m.Port)},
		{Name: "wsrep_provider_options", Value: strings.Join(m.provider(), ";")},
		{Name: "wsrep_sst_method", Value: "mariabackup"},
		{Name: "wsrep_sst_auth", Value: m.Account + ":" + m.Password.Reveal()},
		{Name: "wsrep_sst_receive_address", Value: m.at(CopyPort)},
		{Name: "wsrep_slave_threads", Value: "4"},
		// A table of another engine would be on one member alone.
		{Name: "wsrep_mode", Value: "STRICT_REPLICATION"},
		{Name: "innodb_autoinc_lock_mode", Value: "2"},
	}
	if m.From != "" {
		settings = append(settings, configfile.Setting{Name: "wsrep_start_position", Value: m.From})
	}
	return settings
}

func (m Member) at(port int) string { return net.JoinHostPort(m.Address, strconv.Itoa(port)) }

// cache is how much of what was written last a member keeps, in MB: who was away for no longer than that need not be copied anew.
const cache = 128

// provider are the options of the provider. By TLS each member checks that the other one has a certificate of the project's CA.
func (m Member) provider() []string {
	scheme, options := "tcp://", []string(nil)
	if m.TLS.On() {
		scheme = "ssl://"
		options = []string{
			"socket.ssl=yes",
			"socket.ssl_key=" + m.TLS.CertificateFile(),
			"socket.ssl_cert=" + m.TLS.CertificateFile(),
			"socket.ssl_ca=" + m.TLS.AuthorityFile(),
		}
	}
	return append([]string{
		"gmcast.listen_addr=" + scheme + m.at(GroupPort),
		"ist.recv_addr=" + m.at(MissedPort),
		"ist.recv_bind=" + m.at(MissedPort),
		fmt.Sprintf("gcache.size=%dM", cache),
		// Who says nothing for three seconds is suspected, and when all others agree taken for gone.
		"evs.suspect_timeout=PT3S",
		"evs.inactive_timeout=PT9S",
		// After an outage of all, those that were together last go on when they are together again.
		"pc.recovery=true",
		fmt.Sprintf("pc.wait_prim_timeout=PT%dS", WaitSeconds),
	}, options...)
}

// WaitSeconds is how long a server that starts waits for members that may take writes before it ends.
const WaitSeconds = 120

// Copying is the section of the option file for the server's program that copies it to a new member. By TLS each side checks the other
// one's certificate, and whoever copies must know a word that the new member has told the group.
func (m Member) Copying() configfile.Section {
	s := configfile.Section{Name: "sst", Settings: []configfile.Setting{
		{Name: "sockopt", Value: ",bind=" + m.Address},
		{Name: "progress", Value: "none"},
		{Name: "sst_log_archive", Value: "0"},
	}}
	if m.TLS.On() {
		s.Settings = append(s.Settings, []configfile.Setting{
			{Name: "encrypt", Value: "3"},
			{Name: "ssl_mode", Value: "VERIFY_CA"},
			{Name: "tkey", Value: m.TLS.CertificateFile()},
			{Name: "tcert", Value: m.TLS.CertificateFile()},
			{Name: "tca", Value: m.TLS.AuthorityFile()},
		}...)
	}
	return s
}

// Overrule drops settings that a member has otherwise: it keeps no binary log, for the group's own is what members have in common.
func Overrule(settings []configfile.Setting) []configfile.Setting {
	return slices.DeleteFunc(slices.Clone(settings), func(s configfile.Setting) bool {
		return slices.Contains([]string{"log_bin", "log_slave_updates", "gtid_strict_mode", "relay_log", "relay_log_recovery"}, s.Name)
	})
}
