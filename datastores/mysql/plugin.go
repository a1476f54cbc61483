package mysql

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of MariaDB.
type Options struct {
	datastores.GuestOptions
	Program        string `json:"program" doc:"the server's program"`
	ShareDir       string `json:"share_dir" doc:"where the server's package keeps its messages and the SQL of its system tables"`
	MaxConnections int    `json:"max_connections,omitempty" doc:"0: by the flavor's memory"`
}

// DefaultOptions are those of Debian's packages.
func DefaultOptions() Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:  "/var/lib/mysql",
			Packages:    []string{"mariadb-server"},
			IgnoreUsers: []string{adminUser, rootUser, "mariadb.sys", "mysql", "mysql.sys", "PUBLIC"},
			IgnoreDBs:   []string{"mysql", "information_schema", "performance_schema", "sys"},
		},
		Program:  "/usr/sbin/mariadbd",
		ShareDir: "/usr/share/mysql",
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// maxConnections is the server's own limit of max_connections.
const maxConnections = 100000

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	for _, path := range []struct{ option, value string }{{"program", o.Program}, {"share_dir", o.ShareDir}} {
		if !filepath.IsAbs(path.value) {
			problems = append(problems, fmt.Errorf("%s: %q is not an absolute path", path.option, path.value))
		}
	}
	if o.MaxConnections != 0 && (o.MaxConnections < 10 || o.MaxConnections > maxConnections) {
		problems = append(problems, fmt.Errorf("max_connections: %d is not 0 or 10 to %d", o.MaxConnections, maxConnections))
	}
	return problems
}

// Plugin is MariaDB 10.11, as Debian 12 has it, under its own name and under that of mysql.
func Plugin() datastores.Plugin {
	server := datastores.ServerOptions{
		VersionNumber: "10.11",
		TCPPorts:      []datastores.PortRange{{First: port, Last: port}},
		VolumeSupport: true,
		Names: datastores.NameRules{
			Database: databaseRule.String(),
			User:     userRule.String(),
			Host:     hostRule.String(),
		},
	}
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o) }
	return datastores.NewPlugin("mysql", DefaultOptions(), open,
		datastores.Offer{
			Datastore:   "mariadb",
			Version:     "10.11",
			Description: "MariaDB 10.11",
			Server:      server,
			Guest:       json.RawMessage(`{}`),
		},
		datastores.Offer{
			Datastore:   "mysql",
			Version:     "mariadb-10.11",
			Description: "MariaDB 10.11 under the name of mysql: the same protocol and SQL dialect, not Oracle's server",
			Server:      server,
			Guest:       json.RawMessage(`{}`),
		},
	)
}
