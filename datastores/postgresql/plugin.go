package postgresql

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of PostgreSQL.
type Options struct {
	datastores.GuestOptions
	Version        int    `json:"version" doc:"the server's major version"`
	BinDir         string `json:"bin_dir" doc:"where the programs of that version are; an upgrade needs those of the version before, too"`
	MaxConnections int    `json:"max_connections,omitempty" doc:"0: by the flavor's memory"`
	WALKeepMB      int    `json:"wal_keep_mb,omitempty" doc:"how much write-ahead log is kept for incremental backups; 0: a tenth of the volume, 64 to 4096"`
	SlotKeepMB     int    `json:"slot_keep_mb,omitempty" doc:"how much write-ahead log is kept for a replica that is away; 0: a fifth of the volume, 128 to 16384"`
}

// The versions that there is a table of parameters for.
const (
	oldestVersion = 15
	newestVersion = 17
)

// DefaultOptions are those of Debian 12's packages.
func DefaultOptions() Options {
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:          "/var/lib/postgresql",
			Packages:            []string{"postgresql-15"},
			IgnoreUsers:         []string{adminUser, rootUser, formerRoot, dumpUser, replicasRole},
			IgnoreDBs:           []string{"os_admin", homeDatabase, "template0", "template1"},
			GuestLogExposedLogs: []string{generalLog},
		},
		Version: oldestVersion,
		BinDir:  "/usr/lib/postgresql/15/bin",
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// ServerProgram implements [datastores.ProgramOptions].
func (o Options) ServerProgram() datastores.Program {
	return datastores.Program{Path: filepath.Join(o.BinDir, "postgres"), Version: strconv.Itoa(o.Version)}
}

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	if o.Version < oldestVersion || o.Version > newestVersion {
		problems = append(problems, fmt.Errorf("version: %d is not %d to %d", o.Version, oldestVersion, newestVersion))
	}
	if !filepath.IsAbs(o.BinDir) {
		problems = append(problems, fmt.Errorf("bin_dir: %q is not an absolute path", o.BinDir))
	}
	for _, n := range []struct {
		option              string
		value, least, limit int
	}{
		{"max_connections", o.MaxConnections, leastConnections, 262143},
		{"wal_keep_mb", o.WALKeepMB, 32, 1 << 20},
		{"slot_keep_mb", o.SlotKeepMB, 64, 1 << 20},
	} {
		if n.value != 0 && (n.value < n.least || n.value > n.limit) {
			problems = append(problems, fmt.Errorf("%s: %d is not 0 or %d to %d", n.option, n.value, n.least, n.limit))
		}
	}
	return problems
}

// Plugin is PostgreSQL 15, as Debian 12 has it, and 17, as Debian 13 has it.
func Plugin(extra ...func(*Manager) datastores.BackupStrategy) datastores.Plugin {
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o, extra...) }
	return datastores.NewPlugin("postgresql", DefaultOptions(), open,
		offer("15", "", `{}`),
		offer("17", "debian-13", `{"version": 17, "bin_dir": "/usr/lib/postgresql/17/bin", "packages": ["postgresql-17"]}`),
	)
}

func offer(version, image, guest string) datastores.Offer {
	return datastores.Offer{
		Datastore:   "postgresql",
		Version:     version,
		Description: "PostgreSQL " + version,
		Server: datastores.ServerOptions{
			VersionNumber: version,
			Image:         image,
			TCPPorts:      []datastores.PortRange{{First: port, Last: port}},
			// libpq asks each which it is, so that a client finds the source after a failover.
			Connections: map[string]string{
				"primary":  "postgresql://{members}/?target_session_attrs=read-write",
				"replicas": "postgresql://{members}/?target_session_attrs=prefer-standby",
			},
			VolumeSupport: true,
		},
		Guest: json.RawMessage(guest),
	}
}
