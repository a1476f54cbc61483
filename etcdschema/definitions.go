package etcdschema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/datastores"
)

// idSpace is the namespace of the ids that are made of names. It must never change: clients keep the ids.
var idSpace = uuid.MustParse("6e0a1a52-5c1b-5d0e-9d0a-636f66666572")

// DatastoreID is the id of a datastore: the same on every gateway, and stored nowhere.
func DatastoreID(name string) string {
	return uuid.NewSHA1(idSpace, []byte("datastores/"+name)).String()
}

// VersionID is the id of a datastore version.
func VersionID(datastore, version string) string {
	return uuid.NewSHA1(idSpace, []byte("datastores/"+datastore+"/"+version)).String()
}

// Problems returns everything that is wrong with d.
func (d Datastore) Problems() []error {
	if d.DefaultVersion != "" && !ValidName(d.DefaultVersion) {
		return []error{fmt.Errorf("default_version: %q is no version's name; want 1 to 63 of a-z 0-9 . _ -", d.DefaultVersion)}
	}
	return nil
}

// Offered tells whether tenants may see the datastore.
func (d Datastore) Offered() bool { return d.Active == nil || *d.Active }

// Problems returns everything that is wrong with f.
func (f Flavor) Problems() []error {
	var problems []error
	if f.RAM < 1 {
		problems = append(problems, fmt.Errorf("ram: %d; want at least 1 MB", f.RAM))
	}
	if f.VCPUs < 1 {
		problems = append(problems, fmt.Errorf("vcpus: %d; want at least 1", f.VCPUs))
	}
	if f.Disk < 0 {
		problems = append(problems, fmt.Errorf("disk: %d; want GB, 0 or more", f.Disk))
	}
	return problems
}

// Problems returns everything that is wrong with q.
func (q Quota) Problems() []error {
	var problems []error
	for _, limit := range []struct {
		path string
		max  *int
	}{{"instances", q.Instances}, {"ram", q.RAM}, {"volumes", q.Volumes}, {"backups", q.Backups}} {
		if limit.max != nil && *limit.max < -1 {
			problems = append(problems, fmt.Errorf("%s: %d; want -1 for no limit, or 0 or more", limit.path, *limit.max))
		}
	}
	return problems
}

// JudgeVersion reads the two halves of a datastore version's definition, each JSON or YAML, and says whether they may be
// offered. The error is a *multierror.Error with an *[OptionError] for each thing that is wrong. An empty half is one
// that is missing.
//
// A plug-in's own guest options are known to its guest only: they pass, unless own says what there is, as a manifest
// does. Both halves are returned as far as they could be read; the guest half is JSON.
func JudgeVersion(server, guest []byte, own ...datastores.OptionDoc) (datastores.ServerOptions, json.RawMessage, error) {
	var s datastores.ServerOptions
	var g datastores.GuestOptions
	var options json.RawMessage
	js, jg := judge{half: "server"}, judge{half: "guest"}
	if len(server) == 0 {
		js.bad("", "missing; a version is offered when both halves are there")
	} else {
		js.read(server, &s, strayServer)
	}
	if len(guest) == 0 {
		jg.bad("", "missing; a version is offered when both halves are there")
	} else {
		options = writeMembers(jg.read(guest, &g, strayGuest(own)))
	}
	if len(js.found)+len(jg.found) == 0 {
		for _, err := range datastores.Disagreements(s, g) {
			path, message := SplitPath(err.Error())
			jg.bad(path, "%s", message)
		}
	}
	all := judge{found: append(js.found, jg.found...)}
	return s, options, all.err()
}

func serverNames() []string { return fieldNames(reflect.TypeFor[datastores.ServerOptions]()) }
func guestNames() []string  { return fieldNames(reflect.TypeFor[datastores.GuestOptions]()) }

// strayServer says what is wrong with a name that is no server option.
func strayServer(name string) string {
	if slices.Contains(guestNames(), name) {
		return "belongs to the guest half, under " + GuestPrefix
	}
	return "unknown option; allowed: " + strings.Join(serverNames(), ", ")
}

// strayGuest says what is wrong with a name that is no common guest option. own are the plug-in's options; when there
// are none, they are not known.
func strayGuest(own []datastores.OptionDoc) func(string) string {
	return func(name string) string {
		if slices.Contains(serverNames(), name) {
			return "belongs to the server half, under " + ServerPrefix
		}
		if len(own) == 0 {
			return ""
		}
		allowed := guestNames()
		for _, o := range own {
			if o.Name == name {
				return ""
			}
			if !slices.Contains(allowed, o.Name) {
				allowed = append(allowed, o.Name)
			}
		}
		return "unknown option; allowed: " + strings.Join(allowed, ", ")
	}
}
