package couchbase

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of couchbase.
type Options struct {
	datastores.GuestOptions
	Version      string   `json:"version" doc:"of the server: 7.6 or 8.0"`
	Program      string   `json:"program" doc:"the server's program"`
	ToolsDir     string   `json:"tools_dir" doc:"where cbbackupmgr is"`
	Services     []string `json:"services" doc:"what each node does: kv, which it must, and any of n1ql, index"`
	DataPercent  int      `json:"data_percent" doc:"share of the flavor's memory for the data service, which takes 256 MB at least"`
	IndexPercent int      `json:"index_percent" doc:"share of the flavor's memory for the index service, which takes 256 MB at least; without it 0 is used"`
	BucketMB     int      `json:"bucket_mb" doc:"memory of a bucket on each node, in MB, of what the data service has: 100 at least"`
	Replicas     int      `json:"replicas" doc:"copies of a bucket of a cluster, beside the first: 0 to 2; with 2 a node may be lost without that durable writes end"`
	Durability   string   `json:"durability" doc:"when a bucket acknowledges a write at the earliest: none, majority, majorityAndPersistActive or persistToMajority"`
}

func versions() []string { return []string{"7.6", "8.0"} }

// durabilities are levels of Couchbase's durabilityMinLevel.
func durabilities() []string {
	return []string{"none", "majority", "majorityAndPersistActive", "persistToMajority"}
}

const (
	dataService  = "kv"
	indexService = "index"
	leastBucket  = 100 // MB
)

// DefaultOptions are for Couchbase's own package.
func DefaultOptions() Options { return defaultsOf(versions()[0]) }

func defaultsOf(version string) Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:  "/opt/couchbase/var",
			Packages:    []string{"couchbase-server"},
			IgnoreUsers: []string{adminUser, rootUser},
		},
		Version:      version,
		Program:      "/opt/couchbase/bin/couchbase-server",
		ToolsDir:     "/opt/couchbase/bin",
		Services:     []string{dataService, "n1ql", indexService},
		DataPercent:  60,
		IndexPercent: 15,
		BucketMB:     leastBucket,
		Replicas:     2,
		Durability:   "persistToMajority",
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
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, p := range []struct{ name, value string }{{"program", o.Program}, {"tools_dir", o.ToolsDir}} {
		if !strings.HasPrefix(p.value, "/") {
			bad("%s: %q is not an absolute path", p.name, p.value)
		}
	}
	if !slices.Contains(versions(), o.Version) {
		bad("version: %q is not one of %s", o.Version, strings.Join(versions(), ", "))
	}
	if !slices.Contains(o.Services, dataService) {
		bad("services: %s is missing", dataService)
	}
	for _, s := range o.Services {
		if !slices.Contains([]string{dataService, "n1ql", indexService}, s) {
			bad("services: %q is not one of kv, n1ql, index", s)
		}
	}
	if o.DataPercent < 10 || o.IndexPercent < 0 || o.DataPercent+o.IndexPercent > mostPercent {
		bad("data_percent, index_percent: want 10 and 0 at least, and %d together at most", mostPercent)
	}
	if o.BucketMB < leastBucket {
		bad("bucket_mb: %d is less than %d", o.BucketMB, leastBucket)
	}
	if o.Replicas < 0 || o.Replicas > 2 {
		bad("replicas: %d is not 0 to 2; with 3 there are no durable writes", o.Replicas)
	}
	if !slices.Contains(durabilities(), o.Durability) {
		bad("durability: %q is not one of %s", o.Durability, strings.Join(durabilities(), ", "))
	}
	return problems
}

// Plugin is Couchbase Server 7.6 and 8.0. Neither is active: nobody has run them.
func Plugin() datastores.Plugin {
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o) }
	var offers []datastores.Offer
	inactive := false
	for _, version := range versions() {
		guest, _ := json.Marshal(defaultsOf(version))
		offers = append(offers, datastores.Offer{
			Datastore:   "couchbase",
			Version:     version,
			Description: "Couchbase Server " + version + ": not active, written against its documents and never run with a Couchbase Server",
			Guest:       guest,
			Server: datastores.ServerOptions{
				Active:        &inactive,
				VersionNumber: version,
				TCPPorts:      []datastores.PortRange{{First: dataPort, Last: dataPort}, {First: restPort, Last: restPort}, {First: queryPort, Last: queryPort}},
				PeerTCPPorts:  peerPorts(),
				Connections:   map[string]string{"members": "couchbase://{members}"},
				VolumeSupport: true,
			},
		})
	}
	return datastores.NewPlugin("couchbase", DefaultOptions(), open, offers...)
}
