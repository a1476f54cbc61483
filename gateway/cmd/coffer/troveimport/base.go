package troveimport

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/strict"
)

// Base is the definitions from which an import starts.
type Base struct {
	offers []offer
	own    map[string][]datastores.OptionDoc // by manager: the options of its guests
}

// offer is a datastore version's definition.
type offer struct {
	datastore, version string
	description        string
	preferred          bool // the datastore's default version
	server             datastores.ServerOptions
	guest              map[string]json.RawMessage
}

// ReadBase reads a directory of definitions (nil: none), and what guests say of themselves, which comes first.
func ReadBase(dir fs.FS, guests map[string]datastores.Manifest) (*Base, error) {
	b := &Base{own: map[string][]datastores.OptionDoc{}}
	for _, manager := range slices.Sorted(maps.Keys(guests)) {
		if err := b.addGuest(guests[manager]); err != nil {
			return nil, err
		}
	}
	if dir == nil {
		return b, nil
	}
	files, err := fs.Glob(dir, "server/datastores/*/*")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if err := b.addFile(dir, file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return b, b.addRecords(dir)
}

func (b *Base) addGuest(m datastores.Manifest) error {
	b.own[m.Manager] = m.Options
	for i, o := range m.Offers {
		guest := map[string]json.RawMessage{}
		if err := json.Unmarshal(o.Guest, &guest); err != nil {
			return fmt.Errorf("guest of manager %s: %s %s: %w", m.Manager, o.Datastore, o.Version, err)
		}
		first := !slices.ContainsFunc(m.Offers[:i], func(p datastores.Offer) bool { return p.Datastore == o.Datastore })
		b.offers = append(b.offers, offer{o.Datastore, o.Version, o.Description, first, o.Server, guest})
	}
	return nil
}

// addFile adds a version by its server half's file.
func (b *Base) addFile(dir fs.FS, file string) error {
	ext := path.Ext(file)
	if !slices.Contains([]string{".json", ".yaml", ".yml"}, ext) {
		return nil
	}
	datastore, version := path.Base(path.Dir(file)), strings.TrimSuffix(path.Base(file), ext)
	if slices.ContainsFunc(b.offers, func(o offer) bool { return o.datastore == datastore && o.version == version }) {
		return nil
	}
	server, err := fs.ReadFile(dir, file)
	if err != nil {
		return err
	}
	guest, err := firstFile(dir, path.Join("guest/datastores", datastore, version))
	if err != nil {
		return err
	}
	s, g, err := strict.ReadVersion(server, guest)
	if err != nil {
		return oneLine(err)
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(g, &members); err != nil {
		return err
	}
	b.offers = append(b.offers, offer{datastore: datastore, version: version, server: s, guest: members})
	return nil
}

// addRecords tells the versions which of them is the default one.
func (b *Base) addRecords(dir fs.FS) error {
	for i, o := range b.offers {
		file, err := firstFile(dir, path.Join("server/datastores", o.datastore))
		if err != nil {
			return err
		}
		if file == nil {
			continue
		}
		record, err := etcdschema.Decode[etcdschema.Datastore](file)
		if err != nil {
			return fmt.Errorf("server/datastores/%s: %w", o.datastore, oneLine(err))
		}
		b.offers[i].preferred = record.DefaultVersion == o.version
		b.offers[i].description = cmp.Or(o.description, record.Description)
	}
	return nil
}

// firstFile reads the file of a key; nil when there is none.
func firstFile(dir fs.FS, key string) ([]byte, error) {
	for _, ext := range []string{".json", ".yaml", ".yml"} {
		if _, err := fs.Stat(dir, key+ext); err == nil {
			return fs.ReadFile(dir, key+ext)
		}
	}
	return nil, nil
}

// has reports whether anything is known of a manager.
func (b *Base) has(manager string) bool {
	return b.own[manager] != nil || slices.ContainsFunc(b.offers, func(o offer) bool { return o.server.Manager == manager })
}

// find chooses what a datastore's definition starts from: one of the same manager; if possible of the same datastore, then
// of that version, then the default one.
func (b *Base) find(datastore, manager, version string) (offer, bool) {
	rank := func(o offer) int {
		n := 0
		for weight, fits := range map[int]bool{
			8: o.datastore == datastore, 4: o.datastore == datastore && o.version == version, 2: o.datastore == manager, 1: o.preferred,
		} {
			if fits {
				n += weight
			}
		}
		return n
	}
	var best offer
	found := false
	for _, o := range b.offers {
		if o.server.Manager == manager && (!found || rank(o) > rank(best)) {
			best, found = o, true
		}
	}
	return best, found
}

func (o offer) draft() draft { return draft{o.server, maps.Clone(o.guest)} }
