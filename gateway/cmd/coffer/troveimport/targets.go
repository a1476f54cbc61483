package troveimport

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
)

// managers is the one table from Trove's managers, by the package of their class, which is also the name of their group, to
// Coffer's.
func managers() map[string]string {
	return map[string]string{
		"mysql": "mysql", "mariadb": "mysql", "percona": "mysql", "pxc": "mysql",
		"postgresql": "postgresql", "postgres": "postgresql",
		"redis": "redis", "cassandra": "cassandra", "couchbase": "couchbase", "mongodb": "mongodb",
		"couchdb": "couchdb", "vertica": "vertica", "db2": "db2",
	}
}

// managerClass is the path of one of Trove's own managers.
var managerClass = regexp.MustCompile(`^trove\.guestagent\.datastore\.(?:experimental\.)?([a-z0-9_]+)\.manager\.\w+$`)

const registry = "datastore_registry_ext"

// targets finds the datastores that the configuration speaks of: those that the registry adds, and the groups.
func (im *importing) targets() []*target {
	all := im.registered()
	for _, g := range im.Conf.Groups {
		known := managers()[g.Name]
		i := slices.IndexFunc(all, func(t *target) bool { return t.name == g.Name })
		switch {
		case i < 0 && known != "":
			all = append(all, &target{name: g.Name, manager: known, place: g.Place})
		case i >= 0 && !all[i].grouped:
			all[i].place, all[i].grouped = g.Place, true
		}
	}
	return all
}

// registered reads datastore_registry_ext.
func (im *importing) registered() []*target {
	i := im.entry(troveconf.DefaultGroup, registry)
	if i < 0 {
		return nil
	}
	value, err := im.Conf.Expand(im.Conf.Entries[i])
	if err != nil {
		im.drop(i, verdict{lost: true, why: err.Error()})
		return nil
	}
	pairs, err := troveconf.Dict(value)
	if err != nil {
		im.drop(i, verdict{lost: true, why: err.Error(), instead: "want {name: package.module.Class, …}"})
		return nil
	}
	var all []*target
	at := im.Conf.Entries[i].Place
	for _, p := range pairs {
		manager, err := im.managerOf(p)
		if err != nil {
			im.note(at, troveconf.DefaultGroup+"."+registry, verdict{lost: true, why: err.Error()})
			continue
		}
		all = slices.DeleteFunc(all, func(t *target) bool { return t.name == p.Key }) // the last one counts
		all = append(all, &target{name: p.Key, manager: manager, place: at})
	}
	im.mapped(i)
	return all
}

// managerOf turns a class into a manager's name.
func (im *importing) managerOf(p troveconf.Pair) (string, error) {
	if !etcdschema.ValidName(p.Key) {
		return "", fmt.Errorf("%q is no datastore's name; want 1 to 63 of a-z 0-9 . _ -", p.Key)
	}
	if m := managerClass.FindStringSubmatch(p.Value); m != nil && managers()[m[1]] != "" {
		return managers()[m[1]], nil
	}
	if !im.Base.has(p.Key) {
		return "", fmt.Errorf("%s: class %q is no manager of Trove's own, and no guest says that it is manager %s; "+
			"write a plug-in, and import again with --guests", p.Key, p.Value, p.Key)
	}
	return p.Key, nil
}

// unversioned is the version of a datastore of which nobody says one.
const unversioned = "imported"

// begin fills the draft with what is there without the configuration.
func (im *importing) begin(t *target) {
	t.own = im.Base.own[t.manager]
	t.version = im.Versions[t.name]
	b, found := im.Base.find(t.name, t.manager, t.version)
	same := found && b.datastore == t.name
	if t.version == "" && same {
		t.version = b.version
	}
	t.draft = b.draft()
	if same {
		t.description = b.description
		return
	}
	v := verdict{lost: true}
	if found {
		v.why = fmt.Sprintf("there is no built-in definition of %s: what is not said here was taken from %s %s, of the same manager",
			t.name, b.datastore, b.version)
		v.instead = "look through packages and program"
	} else {
		t.draft = troveDefaults(t)
		v.why = fmt.Sprintf("no definition of manager %s is known: capabilities, strategies and the rest of what its manifest says are missing", t.manager)
		v.instead = fmt.Sprintf("import again with --guests, when there is a %s-guest", t.manager)
	}
	if t.version == "" {
		t.version = unversioned
		v.instead += fmt.Sprintf("; and with --version %s=VERSION, for it is named %q", t.name, unversioned)
	}
	im.note(t.place, t.name, v)
}
