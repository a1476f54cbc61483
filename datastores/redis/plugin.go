package redis

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of redis and valkey.
type Options struct {
	datastores.GuestOptions
	Server           string `json:"server" doc:"what the program is: redis-7.0 or valkey-8.1"`
	Program          string `json:"program" doc:"the server's program"`
	MaxMemoryPercent int    `json:"maxmemory_percent" doc:"share of the flavor's memory for data; the rest is for copies while the append-only file is rewritten, buffers and fragmentation"`
	MaxMemoryPolicy  string `json:"maxmemory_policy" doc:"what is evicted when the memory is full; noeviction: writes fail"`
	AppendFsync      string `json:"appendfsync" doc:"when writes reach the disk: always, everysec or no"`
	Databases        int    `json:"databases" doc:"number of databases for SELECT"`
}

// DefaultOptions are for Debian's package redis-server.
func DefaultOptions() Options { return defaultsOf(variants()[0]) }

func defaultsOf(v variant) Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:  v.mount,
			Packages:    []string{v.pkg},
			IgnoreUsers: []string{adminUser, rootUser, clusterUser},
		},
		Server:           v.name,
		Program:          v.program,
		MaxMemoryPercent: 75,
		MaxMemoryPolicy:  "noeviction",
		AppendFsync:      "everysec",
		Databases:        16,
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// ServerProgram implements [datastores.ProgramOptions].
func (o Options) ServerProgram() datastores.Program {
	v, _ := findVariant(o.Server)
	return datastores.Program{Path: o.Program, Version: v.version()}
}

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
		{"databases", o.Databases, 1, maxDatabases},
	} {
		if r.value < r.first || r.value > r.last {
			problems = append(problems, fmt.Errorf("%s: %d is not %d to %d", r.name, r.value, r.first, r.last))
		}
	}
	for _, c := range []struct {
		name, value string
		allowed     []string
	}{
		{"server", o.Server, variantNames()},
		{"appendfsync", o.AppendFsync, fsyncs()},
		{"maxmemory_policy", o.MaxMemoryPolicy, policies()},
	} {
		if !slices.Contains(c.allowed, c.value) {
			problems = append(problems, fmt.Errorf("%s: %q is not one of %s", c.name, c.value, strings.Join(c.allowed, ", ")))
		}
	}
	return problems
}

// Plugin is Redis 7.0, as Debian 12 has it, and Valkey 8.1, as Debian 13 has it. extra are backup strategies of others.
func Plugin(extra ...func(*Manager) datastores.BackupStrategy) datastores.Plugin {
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o, extra...) }
	var offers []datastores.Offer
	for _, v := range variants() {
		title := map[string]string{"redis": "Redis ", "valkey": "Valkey "}[v.server()] + v.version()
		guest, _ := json.Marshal(defaultsOf(v))
		offers = append(offers, datastores.Offer{
			Datastore:   v.server(),
			Version:     v.version(),
			Description: title,
			Guest:       guest,
			Server: datastores.ServerOptions{
				VersionNumber: v.version(),
				Image:         v.image,
				TCPPorts:      []datastores.PortRange{{First: port, Last: port}, {First: tlsPort, Last: tlsPort}},
				Connections:   map[string]string{"primary": "redis://{source}", "replicas": "redis://{replicas}", "members": "redis://{members}"},
				PeerTCPPorts:  []datastores.PortRange{{First: busPort, Last: busPort}},
				VolumeSupport: true,
				RootOnCreate:  true, // nobody can log in before root is enabled
				// What is changed of users at a source is changed at its replicas, too.
				UsersPerServer: true,
			},
		})
	}
	return datastores.NewPlugin("redis", DefaultOptions(), open, offers...)
}
