package datastores

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ServerOptions is the half of a datastore version's options that only gateways and operators read; in etcd under
// /server/datastores/<name>/<version>. The names are Trove's where Trove has them.
type ServerOptions struct {
	Manager             string            `json:"manager" doc:"which guest binary serves it: <manager>-guest"`
	VersionNumber       string            `json:"version_number,omitempty" doc:"the server's own number, such as 10.11"`
	Active              *bool             `json:"active,omitempty" doc:"false hides the version from tenants; default true"`
	TCPPorts            []PortRange       `json:"tcp_ports,omitempty" doc:"ports opened to allowed_cidrs: 3306 or \"21100-21199\""`
	UDPPorts            []PortRange       `json:"udp_ports,omitempty" doc:"as tcp_ports, for UDP"`
	PeerTCPPorts        []PortRange       `json:"peer_tcp_ports,omitempty" doc:"as tcp_ports, opened to the other members of the instance's set or cluster alone, whatever allowed_cidrs says"`
	PrivateCIDRs        []string          `json:"private_cidrs,omitempty" doc:"networks of IPv4 that reach an instance made without allowed_cidrs that is not is_public; everybody when left out"`
	ICMP                bool              `json:"icmp,omitempty" doc:"answer ping from allowed_cidrs"`
	Connections         map[string]string `json:"connections,omitempty" doc:"what clients connect with, by name, such as {\"primary\": \"postgresql://{members}/?target_session_attrs=read-write\"}: {source}, {replicas} and {members} become address:port, several with commas; the port is the first of tcp_ports"`
	RootOnCreate        bool              `json:"root_on_create,omitempty" doc:"enable root at create; the reply carries the password, once"`
	UsageTimeout        int               `json:"usage_timeout,omitempty" doc:"seconds from create to ACTIVE; default 1800"`
	BackupStrategy      string            `json:"backup_strategy,omitempty" doc:"the default strategy of backups; empty: no backups"`
	ReplicationStrategy string            `json:"replication_strategy,omitempty" doc:"empty: no replicas"`
	VolumeSupport       bool              `json:"volume_support,omitempty" doc:"a create must, or must not, name a volume size"`
	MaxVolumeSize       int               `json:"max_volume_size,omitempty" doc:"GB; default 10"`
	UsersPerServer      bool              `json:"users_per_server,omitempty" doc:"replicas do not get the users of their source by replication; what is changed of them is changed at each"`
	ClusterSupport      bool              `json:"cluster_support,omitempty" doc:"whether clusters of it may be asked for; the manager must be able to do cluster"`
	Image               string            `json:"image,omitempty" doc:"tree of files, below -image-dir of a host, that guest and server run in, such as debian-13; empty: the host's own system"`
	ImageTags           []string          `json:"image_tags,omitempty" doc:"kept as Trove has it, shown to operators"`
	Requires            Labels            `json:"requires,omitempty" doc:"labels that a host must have to get an instance, such as {\"disk\": \"nvme\"}; hosts have theirs by coffer host set"`
	Capabilities        []Capability      `json:"capabilities" doc:"what the manager can do, from its manifest"`
	Names               NameRules         `json:"names,omitzero" doc:"which names tenants may choose, from the manifest"`

	BackupStrategies      []Strategy    `json:"backup_strategies,omitempty" doc:"what backup_strategy may name, from the manifest"`
	ReplicationStrategies []Strategy    `json:"replication_strategies,omitempty" doc:"what replication_strategy may name, from the manifest"`
	ReplicationStream     string        `json:"replication_stream,omitempty" doc:"a replica may follow a source of an older version that has the same, so that a set can be upgraded; from the manifest"`
	Cluster               *ClusterShape `json:"cluster,omitempty" doc:"what clusters there can be, from the manifest"`
	ModuleTypes           []string      `json:"module_types,omitempty" doc:"the types of modules that its servers take, from the manifest"`
	Parameters            []Parameter   `json:"configuration_parameters,omitempty" doc:"what configuration groups may set, from the manifest"`
}

// Defaults of ServerOptions, Trove's.
const (
	DefaultUsageTimeout  = 1800 // seconds
	DefaultMaxVolumeSize = 10   // GB
)

// GuestOptions is the half that may be told to a guest; in etcd under /guest/datastores/<name>/<version>. A plug-in's
// own options struct embeds it.
type GuestOptions struct {
	MountPoint           string   `json:"mount_point" doc:"absolute path under which the volume is mounted; below the instance's own root on a shared host"`
	DevicePath           string   `json:"device_path,omitempty" doc:"block device to mount there; empty on hosts that make the volume"`
	Packages             []string `json:"packages,omitempty" doc:"Debian packages that the host installs when they are missing, in its own system or the image; the first brings the server"`
	BackupStrategy       string   `json:"backup_strategy,omitempty" doc:"the strategy of the instance's backups; empty: what the server half names"`
	BackupNamespace      string   `json:"backup_namespace,omitempty" doc:"where the backup strategy is looked for; empty: anywhere"`
	RestoreNamespace     string   `json:"restore_namespace,omitempty" doc:"where the strategy of a backup to restore is looked for; empty: where it was made with"`
	ReplicationNamespace string   `json:"replication_namespace,omitempty" doc:"where the replication strategy is looked for; empty: anywhere"`
	RequireTLS           bool     `json:"require_tls,omitempty" doc:"the server refuses connections without TLS, and tenants cannot change that; the manager must be able to do tls"`
	IgnoreUsers          []string `json:"ignore_users,omitempty" doc:"reserved: hidden from lists, refused with 400"`
	IgnoreDBs            []string `json:"ignore_dbs,omitempty" doc:"reserved: hidden from lists, refused with 400"`
	GuestLogExposedLogs  []string `json:"guest_log_exposed_logs,omitempty" doc:"logs that tenants may turn on, off and publish; those of the system they may publish always"`
}

// PortRange is one port or a range of them; in JSON 3306 or "21100-21199".
type PortRange struct{ First, Last int }

// ParsePortRange reads "3306" or "21100-21199".
func ParsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(strings.TrimSpace(s), "-")
	if !isRange {
		last = first
	}
	a, err1 := strconv.Atoi(strings.TrimSpace(first))
	b, err2 := strconv.Atoi(strings.TrimSpace(last))
	if err1 != nil || err2 != nil || a < 1 || b > 65535 || a > b {
		return PortRange{}, fmt.Errorf("port %q: want a number of 1 to 65535, or a range such as \"21100-21199\"", s)
	}
	return PortRange{a, b}, nil
}

func (p PortRange) String() string {
	if p.First == p.Last {
		return strconv.Itoa(p.First)
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// MarshalJSON writes a number, or a string for a range.
func (p PortRange) MarshalJSON() ([]byte, error) {
	if p.First == p.Last {
		return []byte(p.String()), nil
	}
	return []byte(strconv.Quote(p.String())), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *PortRange) UnmarshalJSON(b []byte) error {
	r, err := ParsePortRange(strings.Trim(string(b), `"`))
	*p = r
	return err
}

var managerName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Problems returns everything that is wrong with o, each with its path and what is allowed.
func (o ServerOptions) Problems() []error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !managerName.MatchString(o.Manager) {
		bad("manager: %q is not a manager's name; want 1 to 63 of a-z 0-9 . _ -", o.Manager)
	}
	if o.UsageTimeout < 0 {
		bad("usage_timeout: %d is negative; want seconds, or 0 for %d", o.UsageTimeout, DefaultUsageTimeout)
	}
	if o.MaxVolumeSize < 0 {
		bad("max_volume_size: %d is negative; want GB, or 0 for %d", o.MaxVolumeSize, DefaultMaxVolumeSize)
	}
	for i, c := range o.Capabilities {
		if !slices.Contains(AllCapabilities(), c) {
			bad("capabilities[%d]: %q is unknown; allowed: %v", i, c, AllCapabilities())
		}
	}
	for i, cidr := range o.PrivateCIDRs {
		if p, err := netip.ParsePrefix(cidr); err != nil || !p.Addr().Is4() || p != p.Masked() {
			bad("private_cidrs[%d]: %q is not a network of IPv4; want such as 10.0.0.0/8", i, cidr)
		}
	}
	problems = append(problems, o.Requires.Problems("requires")...)
	problems = append(problems, o.connectionProblems()...)
	problems = append(problems, o.strategyProblems()...)
	for i, p := range o.Parameters {
		for _, err := range p.problems() {
			bad("configuration_parameters[%d].%w", i, err)
		}
	}
	for _, r := range []struct{ path, pattern string }{
		{"names.database", o.Names.Database}, {"names.user", o.Names.User},
		{"names.host", o.Names.Host}, {"names.password", o.Names.Password},
	} {
		if _, err := whole(r.pattern); err != nil {
			bad("%s: %v", r.path, err)
		}
	}
	return problems
}

// strategyProblems returns what is wrong with the strategies: what is chosen must be listed.
func (o ServerOptions) strategyProblems() []error {
	var problems []error
	for _, kind := range []struct {
		path, chosen string
		listed       []Strategy
	}{
		{"backup_strategy", o.BackupStrategy, o.BackupStrategies},
		{"replication_strategy", o.ReplicationStrategy, o.ReplicationStrategies},
	} {
		for _, s := range kind.listed {
			if err := s.problem(); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", kind.path, err))
			}
		}
		if kind.chosen != "" && !named(kind.listed, "", kind.chosen) {
			problems = append(problems, fmt.Errorf("%s: %q is not a strategy of manager %s; its manifest lists: %s", kind.path, kind.chosen, o.Manager, listOf(kind.listed)))
		}
	}
	return problems
}

// named reports whether one of the strategies has that name, in that namespace when it is not "".
func named(all []Strategy, namespace, name string) bool {
	return slices.ContainsFunc(all, func(s Strategy) bool {
		return s.Name == cmp.Or(name, s.Name) && s.Namespace == cmp.Or(namespace, s.Namespace)
	})
}

func listOf(all []Strategy) string {
	if len(all) == 0 {
		return "none"
	}
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.String()
	}
	return strings.Join(names, ", ")
}

// Disagreements returns what in a guest half does not fit to its server half: strategies that the manifest does not list, and TLS
// of a manager that cannot.
func Disagreements(o ServerOptions, g GuestOptions) []error {
	var problems []error
	if g.RequireTLS && !slices.Contains(o.Capabilities, CanTLS) {
		problems = append(problems, fmt.Errorf("require_tls: manager %s cannot do TLS, by the server half's capabilities; take it out, or take capabilities from a newer manifest", o.Manager))
	}
	for _, choice := range []struct {
		path, value, namespace, name string
		listed                       []Strategy
	}{
		{"backup_strategy", g.BackupStrategy, "", g.BackupStrategy, o.BackupStrategies},
		{"backup_namespace", g.BackupNamespace, g.BackupNamespace, cmp.Or(g.BackupStrategy, o.BackupStrategy), o.BackupStrategies},
		{"restore_namespace", g.RestoreNamespace, g.RestoreNamespace, "", o.BackupStrategies},
		{"replication_namespace", g.ReplicationNamespace, g.ReplicationNamespace, o.ReplicationStrategy, o.ReplicationStrategies},
	} {
		if choice.value != "" && !named(choice.listed, choice.namespace, choice.name) {
			problems = append(problems, fmt.Errorf("%s: %q is not one of manager %s; its manifest lists: %s", choice.path, choice.value, o.Manager, listOf(choice.listed)))
		}
	}
	return problems
}

var debianPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// Problems returns everything that is wrong with o.
func (o GuestOptions) Problems() []error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !strings.HasPrefix(o.MountPoint, "/") || strings.Contains(o.MountPoint, "..") {
		bad("mount_point: %q is not an absolute path without \"..\", such as /var/lib/mysql", o.MountPoint)
	}
	if o.DevicePath != "" && !strings.HasPrefix(o.DevicePath, "/dev/") {
		bad("device_path: %q is not below /dev/", o.DevicePath)
	}
	for i, p := range o.Packages {
		if !debianPackage.MatchString(p) {
			bad("packages[%d]: %q is not the name of a Debian package", i, p)
		}
	}
	return problems
}
