package datastores

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The places of a connection string's template. Each becomes address:port, several with commas between them; the port is the first of
// tcp_ports.
const (
	placeSource   = "{source}"   // who takes writes: an instance alone, or the source of a set; nobody in a cluster
	placeReplicas = "{replicas}" // who follows it
	placeMembers  = "{members}"  // everybody, the source first
)

var (
	connectionName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	placeholder    = regexp.MustCompile(`\{[^}]*\}`)
)

const maxConnection = 200 // bytes of a template

// connectionProblems returns what is wrong with the templates of connection strings. Who logs in is not the definition's business, so that no
// password can be in one.
func (o ServerOptions) connectionProblems() (problems []error) {
	for _, name := range slices.Sorted(maps.Keys(o.Connections)) {
		template, bad := o.Connections[name], ""
		places := placeholder.FindAllString(template, -1)
		unknown := slices.IndexFunc(places, func(p string) bool { return p != placeSource && p != placeReplicas && p != placeMembers })
		switch {
		case !connectionName.MatchString(name):
			bad = "the name must be 1 to 32 of a-z 0-9 _, beginning with a letter"
		case len(template) > maxConnection || strings.ContainsFunc(template, func(r rune) bool { return r <= ' ' || r > '~' }):
			bad = fmt.Sprintf("want at most %d printable characters of ASCII without spaces", maxConnection)
		case strings.Contains(template, "@"):
			bad = "no user or password may be in it, so no @"
		case unknown >= 0:
			bad = fmt.Sprintf("%s is unknown; allowed: %s, %s, %s", places[unknown], placeSource, placeReplicas, placeMembers)
		case len(places) == 0:
			bad = fmt.Sprintf("it names no address; want one of %s, %s, %s in it", placeSource, placeReplicas, placeMembers)
		default:
			continue
		}
		problems = append(problems, fmt.Errorf("connections.%s: %s", name, bad))
	}
	return problems
}

// ConnectionStrings fills the templates with addresses: of who takes writes, "" when that is nobody or everybody, of who follows it, and of
// everybody. A string of which a place would be empty is left out; so is each whose template is not good.
func (o ServerOptions) ConnectionStrings(source string, replicas, members []string) map[string]string {
	if len(o.connectionProblems()) > 0 {
		return nil
	}
	var sources []string
	if source != "" {
		sources = []string{source}
	}
	all := map[string]string{}
	for name, template := range o.Connections {
		empty := false
		all[name] = placeholder.ReplaceAllStringFunc(template, func(place string) string {
			hosts := map[string][]string{placeSource: sources, placeReplicas: replicas, placeMembers: members}[place]
			empty = empty || len(hosts) == 0
			return o.hosts(hosts)
		})
		if empty {
			delete(all, name)
		}
	}
	return all
}

// hosts are addresses with the port at which the server is reached.
func (o ServerOptions) hosts(addresses []string) string {
	at := slices.Clone(addresses)
	for i := range at {
		if len(o.TCPPorts) > 0 {
			at[i] += ":" + strconv.Itoa(o.TCPPorts[0].First)
		}
	}
	return strings.Join(at, ",")
}
