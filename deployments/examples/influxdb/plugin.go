// Package influxdb is a datastore for Coffer, written outside of it: one InfluxDB 1.6 with databases, users, root and full
// backups. Nobody gets in before a user or root was made.
package influxdb

import (
	"fmt"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of InfluxDB.
type Options struct {
	datastores.GuestOptions
	Program      string `json:"program" doc:"the server's program"`
	CachePercent int    `json:"cache_percent" doc:"share of the flavor's memory for what was written last, of each shard; the rest is for the index and queries"`
}

// DefaultOptions are for Debian's package influxdb.
func DefaultOptions() Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:  "/var/lib/influxdb",
			Packages:    []string{"influxdb"},
			IgnoreUsers: []string{adminUser, rootUser},
			IgnoreDBs:   []string{"_internal"},
		},
		Program:      "/usr/bin/influxd",
		CachePercent: 20,
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// ServerProgram implements [datastores.ProgramOptions]: hosts find out whether they can serve it. The program does not tell its
// version in the usual way.
func (o Options) ServerProgram() datastores.Program { return datastores.Program{Path: o.Program} }

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	if !strings.HasPrefix(o.Program, "/") {
		problems = append(problems, fmt.Errorf("program: %q is not an absolute path", o.Program))
	}
	if o.CachePercent < 5 || o.CachePercent > 50 {
		problems = append(problems, fmt.Errorf("cache_percent: %d is not 5 to 50", o.CachePercent))
	}
	return problems
}

// Plugin is InfluxDB 1.6.
func Plugin() datastores.Plugin {
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o) }
	return datastores.NewPlugin("influxdb", DefaultOptions(), open, datastores.Offer{
		Datastore:   "influxdb",
		Version:     "1.6",
		Description: "InfluxDB 1.6",
		Server: datastores.ServerOptions{
			VersionNumber: "1.6",
			TCPPorts:      []datastores.PortRange{{First: port, Last: port}}, // privatePort is open to the guest alone
			VolumeSupport: true,
		},
	})
}
