package mongodb

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of mongodb.
type Options struct {
	datastores.GuestOptions
	Version      string `json:"version" doc:"of the server: 7.0 or 8.0"`
	Program      string `json:"program" doc:"the server's program"`
	ToolsDir     string `json:"tools_dir" doc:"where mongodump and mongorestore are"`
	CachePercent int    `json:"cache_percent" doc:"share of the flavor's memory for WiredTiger's cache, which is 256 MB at least; the rest is for connections and queries"`
}

func versions() []string { return []string{"7.0", "8.0"} }

// DefaultOptions are for the packages of MongoDB's own repository.
func DefaultOptions() Options { return defaultsOf(versions()[0]) }

func defaultsOf(version string) Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:  "/var/lib/mongodb",
			Packages:    []string{"mongodb-org-server", "mongodb-database-tools"},
			IgnoreUsers: []string{adminUser, rootUser},
			IgnoreDBs:   reservedDatabases(),
		},
		Version:      version,
		Program:      "/usr/bin/mongod",
		ToolsDir:     "/usr/bin",
		CachePercent: 50,
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// ServerProgram implements [datastores.ProgramOptions].
func (o Options) ServerProgram() datastores.Program {
	return datastores.Program{Path: o.Program, Version: o.Version}
}

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	for _, p := range []struct{ name, value string }{{"program", o.Program}, {"tools_dir", o.ToolsDir}} {
		if !strings.HasPrefix(p.value, "/") {
			problems = append(problems, fmt.Errorf("%s: %q is not an absolute path", p.name, p.value))
		}
	}
	if !slices.Contains(versions(), o.Version) {
		problems = append(problems, fmt.Errorf("version: %q is not one of %s", o.Version, strings.Join(versions(), ", ")))
	}
	if o.CachePercent < 10 || o.CachePercent > mostCache {
		problems = append(problems, fmt.Errorf("cache_percent: %d is not 10 to %d", o.CachePercent, mostCache))
	}
	return problems
}

// Plugin is MongoDB 7.0 and 8.0. Neither is active: nobody has run them.
func Plugin() datastores.Plugin {
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o) }
	var offers []datastores.Offer
	inactive := false
	for _, version := range versions() {
		guest, _ := json.Marshal(defaultsOf(version))
		offers = append(offers, datastores.Offer{
			Datastore:   "mongodb",
			Version:     version,
			Description: "MongoDB " + version + ": not active, written against its documents and never run with a mongod",
			Guest:       guest,
			Server: datastores.ServerOptions{
				Active:        &inactive,
				VersionNumber: version,
				TCPPorts:      []datastores.PortRange{{First: port, Last: port}},
				Connections:   map[string]string{"members": "mongodb://{members}/"},
				VolumeSupport: true,
			},
		})
	}
	return datastores.NewPlugin("mongodb", DefaultOptions(), open, offers...)
}
