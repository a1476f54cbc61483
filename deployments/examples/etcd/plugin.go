// Package etcd is a datastore for Coffer, written outside of it: etcd 3.4, alone or as a cluster. A tenant's root is the user admin, who may read
// and write everything; the users, the roles and the members are the guest's.
package etcd

import (
	"fmt"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of etcd.
type Options struct {
	datastores.GuestOptions
	Program         string `json:"program" doc:"the server's program"`
	DatabasePercent int    `json:"database_percent" doc:"share of the flavor's memory that the database may grow to, at most 8 GiB"`
}

// DefaultOptions are for Debian's package etcd-server.
func DefaultOptions() Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:  "/var/lib/etcd",
			Packages:    []string{"etcd-server"},
			IgnoreUsers: []string{guestUser, tenantUser},
		},
		Program:         "/usr/bin/etcd",
		DatabasePercent: 50,
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// ServerProgram implements [datastores.ProgramOptions].
func (o Options) ServerProgram() datastores.Program { return datastores.Program{Path: o.Program} }

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	if !strings.HasPrefix(o.Program, "/") {
		problems = append(problems, fmt.Errorf("program: %q is not an absolute path", o.Program))
	}
	if o.DatabasePercent < 10 || o.DatabasePercent > 80 {
		problems = append(problems, fmt.Errorf("database_percent: %d is not 10 to 80", o.DatabasePercent))
	}
	return problems
}

// Plugin is etcd 3.4.
func Plugin() datastores.Plugin {
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o) }
	return datastores.NewPlugin("etcd", DefaultOptions(), open, datastores.Offer{
		Datastore:   "etcd",
		Version:     "3.4",
		Description: "etcd 3.4",
		Server: datastores.ServerOptions{
			VersionNumber:  "3.4",
			RootOnCreate:   true, // there are no other users
			TCPPorts:       []datastores.PortRange{{First: clientPort, Last: clientPort}},
			PeerTCPPorts:   []datastores.PortRange{{First: peerPort, Last: peerPort}},
			VolumeSupport:  true,
			ClusterSupport: true,
		},
	})
}
