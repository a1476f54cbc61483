// Package memcached is a datastore for Coffer, written outside of it: one memcached 1.6, closed to everybody but its guest
// until root is enabled. What it holds is gone after a restart, as of any cache.
package memcached

import (
	"fmt"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of memcached.
type Options struct {
	datastores.GuestOptions
	Program       string `json:"program" doc:"the server's program"`
	MemoryPercent int    `json:"memory_percent" doc:"share of the flavor's memory for items; the rest is for connections and the hash table"`
	Threads       int    `json:"threads" doc:"worker threads"`
}

// DefaultOptions are for Debian's package memcached.
func DefaultOptions() Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:  "/var/lib/memcached",
			Packages:    []string{"memcached"},
			IgnoreUsers: []string{adminUser},
		},
		Program:       "/usr/bin/memcached",
		MemoryPercent: 80,
		Threads:       4,
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// ServerProgram implements [datastores.ProgramOptions]: hosts find out whether they can serve it.
func (o Options) ServerProgram() datastores.Program {
	return datastores.Program{Path: o.Program, Version: "1.6"}
}

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	if !strings.HasPrefix(o.Program, "/") {
		problems = append(problems, fmt.Errorf("program: %q is not an absolute path", o.Program))
	}
	if o.MemoryPercent < 10 || o.MemoryPercent > 95 {
		problems = append(problems, fmt.Errorf("memory_percent: %d is not 10 to 95", o.MemoryPercent))
	}
	if o.Threads < 1 || o.Threads > 64 {
		problems = append(problems, fmt.Errorf("threads: %d is not 1 to 64", o.Threads))
	}
	return problems
}

// Plugin is memcached 1.6.
func Plugin() datastores.Plugin {
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o) }
	return datastores.NewPlugin("memcached", DefaultOptions(), open, datastores.Offer{
		Datastore:   "memcached",
		Version:     "1.6",
		Description: "memcached 1.6",
		Server: datastores.ServerOptions{
			VersionNumber: "1.6",
			TCPPorts:      []datastores.PortRange{{First: port, Last: port}},
			RootOnCreate:  true, // nobody can log in before root is enabled
		},
	})
}
