package redis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of redis.
type Options struct {
	datastores.GuestOptions
	Program          string `json:"program" doc:"the server's program"`
	MaxMemoryPercent int    `json:"maxmemory_percent" doc:"share of the flavor's memory for data; the rest is for copies while the append-only file is rewritten, buffers and fragmentation"`
	MaxMemoryPolicy  string `json:"maxmemory_policy" doc:"what is evicted when the memory is full; noeviction: writes fail"`
	AppendFsync      string `json:"appendfsync" doc:"when writes reach the disk: always, everysec or no"`
	Databases        int    `json:"databases" doc:"number of databases for SELECT"`
}

// DefaultOptions are for Debian's package redis-server.
func DefaultOptions() Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:  "/var/lib/redis",
			Packages:    []string{"redis-server"},
			IgnoreUsers: []string{adminUser},
		},
		Program:          "/usr/bin/redis-server",
		MaxMemoryPercent: 75,
		MaxMemoryPolicy:  "noeviction",
		AppendFsync:      "everysec",
		Databases:        16,
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	if !strings.HasPrefix(o.Program, "/") {
		problems = append(problems, fmt.Errorf("program: %q is not an absolute path", o.Program))
	}
	for _, r := range []struct {
		name         string
		value, first int
		last         int
	}{
		{"maxmemory_percent", o.MaxMemoryPercent, 10, 95},
		{"databases", o.Databases, 1, 10000},
	} {
		if r.value < r.first || r.value > r.last {
			problems = append(problems, fmt.Errorf("%s: %d is not %d to %d", r.name, r.value, r.first, r.last))
		}
	}
	for _, c := range []struct {
		name, value string
		allowed     []string
	}{
		{"appendfsync", o.AppendFsync, []string{"always", "everysec", "no"}},
		{"maxmemory_policy", o.MaxMemoryPolicy, []string{"noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random",
			"volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			problems = append(problems, fmt.Errorf("%s: %q is not one of %s", c.name, c.value, strings.Join(c.allowed, ", ")))
		}
	}
	return problems
}

// Plugin is Redis 7.0, as Debian 12 has it.
func Plugin() datastores.Plugin {
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o) }
	return datastores.NewPlugin("redis", DefaultOptions(), open, datastores.Offer{
		Datastore:   "redis",
		Version:     "7.0",
		Description: "Redis 7.0",
		Server: datastores.ServerOptions{
			VersionNumber: "7.0",
			TCPPorts:      []datastores.PortRange{{First: port, Last: port}},
			VolumeSupport: true,
			RootOnCreate:  true, // nobody can log in before root is enabled
		},
	})
}
