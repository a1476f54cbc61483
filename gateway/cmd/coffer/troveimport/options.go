package troveimport

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
)

// rule says what comes of an option.
type rule struct {
	option string
	carry  func(d *draft, value string) error // nil: no definition takes it
	// harmless tells of which values nothing is lost; nil: of none.
	harmless     func(value string) bool
	why, instead string // it is not carried over, or fails to be; what to do
}

// groupRules are those for a datastore's group, in the order in which they are followed: a namespace after the strategy
// that has to be in it.
func groupRules() []rule {
	describe := "give the guest binaries with --guests, so that what they have is known"
	inert := "Trove's own code does not read it"
	cluster := func(option string) rule {
		return rule{option: option, why: noClusters, instead: "what needs a cluster stays where it is; a source with replicas may do for the rest"}
	}
	return []rule{
		// The half of gateways.
		{option: "tcp_ports", carry: ports(func(d *draft) *[]datastores.PortRange { return &d.server.TCPPorts })},
		{option: "udp_ports", carry: ports(func(d *draft) *[]datastores.PortRange { return &d.server.UDPPorts })},
		{option: "icmp", carry: boolean(func(d *draft) *bool { return &d.server.ICMP })},
		{option: "root_on_create", carry: boolean(func(d *draft) *bool { return &d.server.RootOnCreate })},
		{option: "volume_support", carry: boolean(func(d *draft) *bool { return &d.server.VolumeSupport })},
		{option: "cluster_support", carry: clusterSupport},
		{option: "usage_timeout", carry: integer(func(d *draft) *int { return &d.server.UsageTimeout })},
		{option: "backup_strategy", carry: backupStrategy, instead: describe},
		{option: "replication_strategy", carry: replicationStrategy, instead: describe},

		// The half of guests.
		{option: "mount_point", carry: guestText("mount_point")},
		{option: "ignore_users", carry: reserved("ignore_users")},
		{option: "ignore_dbs", carry: reserved("ignore_dbs")},
		{option: "guest_log_exposed_logs", carry: guestList("guest_log_exposed_logs")},
		{option: "backup_namespace", carry: guestNamespace("backup_namespace"), instead: describe},
		{option: "restore_namespace", carry: guestNamespace("restore_namespace"), instead: describe},
		{option: "replication_namespace", carry: guestNamespace("replication_namespace"), instead: describe},

		// Neither.
		{option: devicePath, harmless: none, why: "hosts make volumes by themselves", instead: "for guests on machines of their own, import with --device-path"},
		{option: "root_controller", harmless: anything, why: "what root may do is the manager's capability"},
		{option: "default_password_length", harmless: atMost(36), why: "passwords that the gateway makes have 36 characters", instead: "choose longer ones yourself"},
		{option: longQueryTime, harmless: oneOf("0", "1000"), why: "what a slow query is belongs to the tenants", instead: "set long_query_time in a configuration group"},
		{option: "backup_incremental_strategy", harmless: anything, why: "a strategy that can take a parent does both"},
		{option: "replication_user", harmless: anything, why: "each replica gets an account of its own"},
		{option: "replication_password", harmless: anything, why: "each replica gets an account and a password of its own"},
		{option: "replication_net_interface", why: "each instance has one address", instead: "nothing can be put in its place"},
		cluster("min_cluster_member_count"),
		cluster("cluster_member_count"),
		cluster("min_ksafety"),
		cluster("api_strategy"),
		cluster("taskmanager_strategy"),
		cluster("guestagent_strategy"),
		cluster("num_config_servers_per_cluster"),
		cluster("num_query_routers_per_cluster"),
		cluster("config_servers_volume_size"),
		cluster("query_routers_volume_size"),
		cluster("cluster_secure"),
		cluster("add_members_timeout"),
		cluster("node_sync_time"),
		cluster("enable_cluster_instance_backup"),
		{option: "mongodb_port", harmless: oneOf("27017"), why: "each instance has its own address, so that engines keep their port", instead: "use 27017"},
		cluster("configsvr_port"),
		{option: "postgresql_port", harmless: oneOf("5432"), why: "each instance has its own address, so that engines keep their port", instead: "use 5432"},
		{option: "system_log_level", harmless: oneOf("INFO"), why: "guests keep the engine's default", instead: "nothing can be put in its place"},
		{option: "enable_saslauthd", harmless: anything, why: inert},
		{option: "user_controller", harmless: anything, why: inert},
		{option: "database_controller", harmless: anything, why: inert},
		{option: "user_access_controller", harmless: anything, why: inert},
		{option: "readahead_size", why: "guests do not tune block devices", instead: "set it on the host, with blockdev --setra"},
		{option: "wal_archive_location", harmless: anything, why: "nothing is archived: incremental backups read the log that the server keeps on the instance's volume"},
		{option: "enable_clean_wal_archives", harmless: anything, why: "nothing is archived"},
		{option: "docker_image", why: "guests run the programs of packages, not containers", instead: "name the packages in the guest half"},
		{option: "backup_docker_image", harmless: anything, why: "the guest makes backups by itself"},
		{option: "database_service_uname", harmless: oneOf("database"), why: "the server runs as the user of its package, or of its instance", instead: "nothing can be put in its place"},
		{option: "database_service_uid", why: "the server runs as the user of its package, or of its instance", instead: "nothing can be put in its place"},
		{option: "database_service_gid", why: "the server runs as the user of its package, or of its instance", instead: "nothing can be put in its place"},
	}
}

const noClusters = "Coffer makes no clusters"

// clusterSupport takes a datastore of which no clusters may be asked for.
func clusterSupport(d *draft, value string) (err error) {
	if d.server.ClusterSupport, err = troveconf.Bool(value); d.server.ClusterSupport {
		return errors.New(noClusters)
	}
	return err
}

func anything(string) bool { return true }

func oneOf(values ...string) func(string) bool {
	return func(value string) bool { return slices.Contains(values, strings.TrimSpace(value)) }
}

func atMost(limit int) func(string) bool {
	return func(value string) bool {
		n, err := troveconf.Int(value)
		return err == nil && n <= limit
	}
}

func boolIs(want bool) func(string) bool {
	return func(value string) bool {
		b, err := troveconf.Bool(value)
		return err == nil && b == want
	}
}

func boolean(field func(*draft) *bool) func(*draft, string) error {
	return func(d *draft, value string) (err error) {
		*field(d), err = troveconf.Bool(value)
		return err
	}
}

func integer(field func(*draft) *int) func(*draft, string) error {
	return func(d *draft, value string) (err error) {
		*field(d), err = troveconf.Int(value)
		return err
	}
}

func ports(field func(*draft) *[]datastores.PortRange) func(*draft, string) error {
	return func(d *draft, value string) error {
		var all []datastores.PortRange
		for _, text := range troveconf.List(value) {
			r, err := datastores.ParsePortRange(text)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		*field(d) = all
		return nil
	}
}

func guestText(option string) func(*draft, string) error {
	return func(d *draft, value string) error { return d.setGuest(option, value) }
}

func guestInteger(option string) func(*draft, string) error {
	return func(d *draft, value string) error {
		n, err := troveconf.Int(value)
		if err != nil {
			return err
		}
		return d.setGuest(option, n)
	}
}

func guestList(option string) func(*draft, string) error {
	return func(d *draft, value string) error { return d.setGuest(option, troveconf.List(value)) }
}

// reserved adds names to those that are reserved already: the guest's own accounts stay hidden, whatever Trove's were.
func reserved(option string) func(*draft, string) error {
	return func(d *draft, value string) error {
		all := d.list(option)
		for _, name := range troveconf.List(value) {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
		return d.setGuest(option, all)
	}
}

func guestNamespace(option string) func(*draft, string) error {
	return func(d *draft, value string) error {
		if none(value) {
			delete(d.guest, option)
			return nil
		}
		return d.setGuest(option, namespace(value))
	}
}

func backupStrategy(d *draft, value string) (err error) {
	delete(d.guest, "backup_strategy") // one half says it; the namespaces were that strategy's
	delete(d.guest, "backup_namespace")
	if none(value) {
		d.server.BackupStrategy = ""
		return nil
	}
	d.server.BackupStrategy, err = strategy(value, d.server.BackupStrategy, d.server.Manager, d.server.BackupStrategies)
	return err
}

func replicationStrategy(d *draft, value string) (err error) {
	delete(d.guest, "replication_namespace")
	if none(value) {
		d.server.ReplicationStrategy = ""
		return nil
	}
	d.server.ReplicationStrategy, err = strategy(value, d.server.ReplicationStrategy, d.server.Manager, d.server.ReplicationStrategies)
	return err
}

// ownOption carries over what is no common option: the plug-in may have one of that name.
func ownOption(t *target, option string) func(*draft, string) error {
	i := slices.IndexFunc(t.own, func(o datastores.OptionDoc) bool { return o.Name == option })
	kind := ""
	if i >= 0 {
		kind = t.own[i].Type
	}
	return func(d *draft, value string) error {
		switch cmp.Or(kind, kindOf(d.guest[option])) {
		case "string":
			return d.setGuest(option, value)
		case "boolean":
			b, err := troveconf.Bool(value)
			if err != nil {
				return fmt.Errorf("is no boolean; manager %s wants one", t.manager)
			}
			return d.setGuest(option, b)
		case "integer", "number":
			n, err := troveconf.Int(value)
			if err != nil {
				return fmt.Errorf("is no whole number; manager %s wants one", t.manager)
			}
			return d.setGuest(option, n)
		case "list":
			return d.setGuest(option, troveconf.List(value))
		}
		return fmt.Errorf("neither Coffer nor manager %s has such an option", t.manager)
	}
}

// kindOf is the type of a JSON value, as a manifest names it; "" of what cannot be told in one line.
func kindOf(value []byte) string {
	switch {
	case len(value) == 0:
		return ""
	case value[0] == '"':
		return "string"
	case value[0] == '[':
		return "list"
	case string(value) == "true" || string(value) == "false":
		return "boolean"
	case value[0] == '-' || value[0] >= '0' && value[0] <= '9':
		return "number"
	}
	return ""
}
