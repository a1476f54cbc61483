package mysql

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/modules"
	"github.com/cofferdb/coffer/datastores/mysql/galera"
)

// Options are the guest options of the family.
type Options struct {
	datastores.GuestOptions
	Variant         string `json:"variant" doc:"whose server it is: mariadb, mysql or percona"`
	Version         string `json:"version" doc:"of the server: for mariadb 10.11 or 11.8, for mysql 5.7, 8.0 (8.0.17 for that and later ones), 8.4 or 9.7, for percona 8.0, 8.0.17 or 8.4"`
	Program         string `json:"program" doc:"the server's program"`
	ToolsDir        string `json:"tools_dir" doc:"where the server's other programs are: backup, dump, upgrade"`
	ShareDir        string `json:"share_dir" doc:"where the server's package keeps its messages and the SQL of its system tables"`
	MaxConnections  int    `json:"max_connections,omitempty" doc:"0: by the flavor's memory"`
	SemiSync        bool   `json:"semi_sync,omitempty" doc:"a source acknowledges what one of its replicas has received, unless none has answered for ten seconds (semisynchronous replication)"`
	LongQueryMillis int    `json:"guest_log_long_query_time" doc:"milliseconds from which on a statement is in the log slow_query, unless the tenant sets long_query_time"`
}

// DefaultOptions are those of Debian 12's packages.
func DefaultOptions() Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:          "/var/lib/mysql",
			Packages:            []string{"mariadb-server", "mariadb-backup", "tzdata"},
			IgnoreUsers:         []string{adminUser, rootUser, memberUser, copyUser, "mariadb.sys", "mysql", "mysql.sys", "mysql.session", "mysql.infoschema", "PUBLIC"},
			IgnoreDBs:           []string{"mysql", "information_schema", "performance_schema", "sys"},
			GuestLogExposedLogs: []string{generalLog, slowQueryLog},
		},
		Variant:         "mariadb",
		Version:         "10.11",
		Program:         "/usr/sbin/mariadbd",
		ToolsDir:        "/usr/bin",
		ShareDir:        "/usr/share/mysql",
		LongQueryMillis: 1000,
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// ServerProgram implements [datastores.ProgramOptions].
func (o Options) ServerProgram() datastores.Program {
	return datastores.Program{Path: o.Program, Version: o.Version}
}

// maxConnections is the server's own limit of max_connections.
const maxConnections = 100000

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	for _, path := range []struct{ option, value string }{{"program", o.Program}, {"tools_dir", o.ToolsDir}, {"share_dir", o.ShareDir}} {
		if !filepath.IsAbs(path.value) {
			problems = append(problems, fmt.Errorf("%s: %q is not an absolute path", path.option, path.value))
		}
	}
	if v, ok := variantOf(o.Variant, o.Version); !ok {
		problems = append(problems, fmt.Errorf("variant: %q is not mariadb, mysql or percona", o.Variant))
	} else if !slices.Contains(v.versions, o.Version) {
		problems = append(problems, fmt.Errorf("version: %q is not one of %s: %s", o.Version, o.Variant, strings.Join(v.versions, ", ")))
	}
	if o.LongQueryMillis < 0 {
		problems = append(problems, fmt.Errorf("guest_log_long_query_time: %d is negative; want milliseconds", o.LongQueryMillis))
	}
	if o.MaxConnections != 0 && (o.MaxConnections < 10 || o.MaxConnections > maxConnections) {
		problems = append(problems, fmt.Errorf("max_connections: %d is not 0 or 10 to %d", o.MaxConnections, maxConnections))
	}
	return problems
}

// Plugin is the family: MariaDB 10.11 as Debian 12 has it and 11.8 as Debian 13 does, 10.11 under the name of mysql, too.
// What extra makes are further strategies of backups. Percona Server is offered, but not active: see its description.
func Plugin(extra ...func(*Manager) datastores.BackupStrategy) datastores.Plugin {
	inactive := false
	server := func(version, image string, active *bool) datastores.ServerOptions {
		return datastores.ServerOptions{
			VersionNumber: version,
			Image:         image,
			Active:        active,
			TCPPorts:      []datastores.PortRange{{First: port, Last: port}},
			Connections:   map[string]string{"primary": "mysql://{source}/", "replicas": "mysql://{replicas}/", "members": "mysql://{members}/"},
			VolumeSupport: true,
		}
	}
	// The members of a cluster come to each other by ports of their own.
	mariadb := func(version, image string) datastores.ServerOptions {
		s := server(version, image, nil)
		s.PeerTCPPorts = []datastores.PortRange{{First: galera.CopyPort, Last: galera.CopyPort}, {First: galera.GroupPort, Last: galera.MissedPort}}
		return s
	}
	open := func(env datastores.Env, o Options) datastores.Manager {
		m := New(env, o, extra...)
		if m.variant.family == "mariadb" {
			return Member{m}
		}
		if m.groups() {
			return GroupMember{m}
		}
		return m
	}
	return datastores.NewPlugin("mysql", DefaultOptions(), open,
		datastores.Offer{
			Datastore:   "mariadb",
			Version:     "10.11",
			Description: "MariaDB 10.11",
			Server:      mariadb("10.11", ""),
			Guest:       json.RawMessage(`{}`),
		},
		datastores.Offer{
			Datastore:   "mariadb",
			Version:     "11.8",
			Description: "MariaDB 11.8, in an image of Debian 13",
			Server:      mariadb("11.8", "debian-13"),
			Guest:       json.RawMessage(`{"version": "11.8", "share_dir": "/usr/share/mariadb"}`),
		},
		datastores.Offer{
			Datastore:   "mysql",
			Version:     "9.7",
			Description: "MySQL 9.7, Oracle's, in an image of Debian sid",
			Server:      server("9.7", "debian-sid", nil),
			Guest: json.RawMessage(`{"variant": "mysql", "version": "9.7", "program": "/usr/sbin/mysqld",
				"packages": ["mysql-server-core", "mysql-client-core", "tzdata"]}`),
		},
		datastores.Offer{
			Datastore:   "mysql",
			Version:     "mariadb-10.11",
			Description: "MariaDB 10.11 under the name of mysql: the same protocol and SQL dialect, not Oracle's server",
			Server:      mariadb("10.11", ""),
			Guest:       json.RawMessage(`{}`),
		},
		datastores.Offer{
			Datastore: "percona",
			Version:   "8.0",
			Description: "Percona Server 8.0 with XtraBackup. Written after the manuals and never run: its packages are in no " +
				"registry that the tests may use. Try it before you make it active",
			Server: server("8.0", "", &inactive),
			Guest: json.RawMessage(`{"variant": "percona", "version": "8.0", "program": "/usr/sbin/mysqld",
				"packages": ["percona-server-server", "percona-xtrabackup-80"]}`),
		},
	)
}

// ModuleDrivers implements [datastores.Modules]: what every server takes, parameters, and statements.
func (m *Manager) ModuleDrivers() []datastores.ModuleDriver {
	return append(modules.Common(m.env), modules.Parameters(), modules.SQL(m.runModule))
}
