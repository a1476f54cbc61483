package strict

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// Where the two halves are in etcd.
const (
	ServerPrefix = "/server/"
	GuestPrefix  = "/guest/"
)

// ReadVersion reads the two halves of a datastore version's definition, each JSON or YAML, and says whether they may be
// offered. The error is a *multierror.Error with an *[OptionError] for each thing that is wrong. An empty half is one
// that is missing.
//
// A plug-in's own guest options are known to its guest only: they pass, unless own says what there is, as a manifest
// does. Both halves are returned as far as they could be read; the guest half is JSON.
func ReadVersion(server, guest []byte, own ...datastores.OptionDoc) (datastores.ServerOptions, json.RawMessage, error) {
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
