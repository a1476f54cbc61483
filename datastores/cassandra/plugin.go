package cassandra

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// Options are the guest options of cassandra.
type Options struct {
	datastores.GuestOptions
	Version     string   `json:"version" doc:"what the program is: 4.1 or 5.0"`
	Home        string   `json:"home" doc:"where the server's jars are, in lib or beside it: where Apache's archive was unpacked, or /usr/share/cassandra of its Debian package"`
	Program     string   `json:"program" doc:"a program of the server's by which a host knows that it has it: bin/cassandra of the archive, /usr/sbin/cassandra of the package"`
	Java        string   `json:"java" doc:"the program java, of version 17"`
	JavaOptions []string `json:"java_options,omitempty" doc:"further options of the server's Java machine, such as -XX:+UseZGC"`
	HeapPercent int      `json:"heap_percent" doc:"share of the flavor's memory for Java's heap; as much again may be taken outside of it, by half"`
	BcryptCost  int      `json:"bcrypt_cost" doc:"how often a tenant's password is hashed, as a power of two: each login of theirs takes that long"`
}

// DefaultOptions are for the newest version, as the image has it.
func DefaultOptions() Options { return defaultsOf(variants()[len(variants())-1]) }

func defaultsOf(v variant) Options {
	home := "/opt/cassandra-" + v.version
	return Options{
		GuestOptions: datastores.GuestOptions{
			MountPoint:  "/var/lib/cassandra",
			Packages:    []string{"openjdk-17-jre-headless"},
			IgnoreUsers: []string{adminUser, rootUser},
			IgnoreDBs:   systemKeyspaces(),
		},
		Version:     v.version,
		Home:        home,
		Program:     home + "/bin/cassandra",
		Java:        "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
		HeapPercent: 50,
		BcryptCost:  10,
	}
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// ServerProgram implements [datastores.ProgramOptions]. The program is not asked for its version: without the instance's own
// configuration it has none to say. The server is, when it runs.
func (o Options) ServerProgram() datastores.Program { return datastores.Program{Path: o.Program} }

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	for _, path := range []struct{ name, value string }{{"home", o.Home}, {"program", o.Program}, {"java", o.Java}} {
		if !filepath.IsAbs(path.value) {
			problems = append(problems, fmt.Errorf("%s: %q is not an absolute path", path.name, path.value))
		}
	}
	if _, ok := findVariant(o.Version); !ok {
		problems = append(problems, fmt.Errorf("version: %q is not one of %s", o.Version, strings.Join(versions(), ", ")))
	}
	for _, r := range []struct {
		name               string
		value, first, last int
	}{{"heap_percent", o.HeapPercent, 20, 60}, {"bcrypt_cost", o.BcryptCost, 4, 16}} {
		if r.value < r.first || r.value > r.last {
			problems = append(problems, fmt.Errorf("%s: %d is not %d to %d", r.name, r.value, r.first, r.last))
		}
	}
	if i := slices.IndexFunc(o.JavaOptions, func(option string) bool {
		return !strings.HasPrefix(option, "-") || strings.ContainsAny(option, "\n\"\\")
	}); i >= 0 {
		problems = append(problems, fmt.Errorf("java_options[%d]: %q is no option of java, which begins with - and has no quotes", i, o.JavaOptions[i]))
	}
	return problems
}

// Plugin is Cassandra 4.1 and 5.0, in an image of their own: Debian has neither.
func Plugin() datastores.Plugin {
	open := func(env datastores.Env, o Options) datastores.Manager { return New(env, o) }
	var offers []datastores.Offer
	inactive := false // until the whole suite runs each time
	for _, v := range variants() {
		guest, _ := json.Marshal(defaultsOf(v))
		offers = append(offers, datastores.Offer{
			Datastore:   "cassandra",
			Version:     v.version,
			Description: "Apache Cassandra " + v.version,
			Guest:       guest,
			Server: datastores.ServerOptions{
				VersionNumber: v.version,
				Image:         "cassandra",
				TCPPorts:      []datastores.PortRange{{First: port, Last: port}},
				PeerTCPPorts:  []datastores.PortRange{{First: storagePort, Last: storagePort}},
				Connections:   map[string]string{"contact_points": "{members}"},
				VolumeSupport: true,
				Active:        &inactive,
			},
		})
	}
	return datastores.NewPlugin("cassandra", DefaultOptions(), open, offers...)
}
