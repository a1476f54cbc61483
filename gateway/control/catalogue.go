package control

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// seen is what was last read of the definitions, and found wrong with them. The log says each thing once.
type seen struct {
	mu        sync.Mutex
	catalogue etcdschema.Catalogue
	problems  []string
	read      bool // the others are of the last reading of [Plane.WatchCatalogue], or of a later one
}

// Catalogue reads what operators have defined, as it is now: a definition is usable as soon as it is put. Hosts that have not
// judged it are asked; nobody waits for them, see [Plane.Settled].
func (cp *Plane) Catalogue(ctx context.Context) (etcdschema.Catalogue, error) {
	c, err := cp.readCatalogue(ctx)
	if err == nil {
		cp.askHosts(c)
	}
	return c, err
}

// readCatalogue reads it and logs what is new of its problems.
func (cp *Plane) readCatalogue(ctx context.Context) (etcdschema.Catalogue, error) {
	c, err := cp.Store.Catalogue(ctx)
	if err != nil {
		return c, err
	}
	cp.seen.mu.Lock()
	defer cp.seen.mu.Unlock()
	var now []string
	for _, p := range c.Problems {
		now = append(now, p.Error())
		if !slices.Contains(cp.seen.problems, p.Error()) {
			cp.Log.Warn("a definition is not good", "key", p.Key, "path", p.Path, "problem", p.Message, "last_good_in_force", p.InForce)
		}
	}
	cp.seen.catalogue, cp.seen.problems, cp.seen.read = c, now, true
	return c, nil
}

const (
	readWithin = 10 * time.Second // how long etcd has for the catalogue when nobody waits for it
	readPause  = time.Second      // between two such readings: hosts that come together change it together
)

// WatchCatalogue reads the catalogue whenever it has changed, until ctx ends: [Plane.CountProblems] and the log know then of
// what an operator has put, without a client that asks.
func (cp *Plane) WatchCatalogue(ctx context.Context) {
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, prefix := range etcdschema.CataloguePrefixes() {
		watches.Go(func() {
			_ = cp.Store.Tail(ctx, prefix, func(b etcdschema.Batch) {
				if b.Resync || len(b.Changes) > 0 {
					wake()
				}
			})
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		within, cancel := context.WithTimeout(ctx, readWithin)
		if _, err := cp.readCatalogue(within); err != nil {
			cp.seen.mu.Lock()
			cp.seen.read = false
			cp.seen.mu.Unlock()
			wake()
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-time.After(readPause):
		}
	}
}

// CountProblems is for /metrics: how many there were when the definitions were last read; -1 when they could not be.
func (cp *Plane) CountProblems() float64 {
	cp.seen.mu.Lock()
	defer cp.seen.mu.Unlock()
	if !cp.seen.read {
		return -1
	}
	return float64(len(cp.seen.problems))
}

// latelySeen is the catalogue of a moment ago, which is not read for it, unless none was read since etcd was away.
func (cp *Plane) latelySeen(ctx context.Context) (etcdschema.Catalogue, error) {
	cp.seen.mu.Lock()
	c, read := cp.seen.catalogue, cp.seen.read
	cp.seen.mu.Unlock()
	if read {
		return c, nil
	}
	return cp.readCatalogue(ctx)
}

func FindDatastore(c etcdschema.Catalogue, ref string) (etcdschema.CatalogueDatastore, bool) {
	for _, d := range c.Datastores {
		if d.Name == ref || etcdschema.DatastoreID(d.Name) == ref {
			return d, true
		}
	}
	return etcdschema.CatalogueDatastore{}, false
}

func FindVersion(versions []etcdschema.Version, ref string) (etcdschema.Version, bool) {
	for _, v := range versions {
		if v.Name == ref || etcdschema.VersionID(v.Datastore, v.Name) == ref {
			return v, true
		}
	}
	return etcdschema.Version{}, false
}

// chooseVersion finds what a create asks for. An unknown datastore is 404, an unknown or inactive version 400, as in
// Trove; without a type the default datastore is meant.
func chooseVersion(c etcdschema.Catalogue, datastore, version string) (etcdschema.Version, error) {
	if datastore == "" {
		if datastore = defaultDatastore(c); datastore == "" {
			return etcdschema.Version{}, fault.Errorf(fault.BadRequest, "Say which datastore: instance['datastore']['type'] is one of: %s.", datastoreNames(c))
		}
	}
	d, ok := FindDatastore(c, datastore)
	if !ok {
		return etcdschema.Version{}, fault.Errorf(fault.ItemNotFound, "Datastore '%s' cannot be found; there is: %s.", datastore, datastoreNames(c))
	}
	if version == "" {
		version = d.Datastore.DefaultVersion
	}
	if version == "" {
		return etcdschema.Version{}, fault.Errorf(fault.BadRequest, "Datastore %s has no default version; name one.", d.Name)
	}
	v, ok := FindVersion(d.Versions, version)
	if !ok || !v.Offered() {
		return v, fault.Errorf(fault.BadRequest, "Datastore version '%s' of %s cannot be found or is not active.", version, d.Name)
	}
	return v, nil
}

// Connections are what clients connect to an instance or a cluster with, by name, as the definition of its version had them a moment ago. When
// that is gone, there are none.
func (cp *Plane) Connections(ctx context.Context, m lifecycle.Member) (map[string]string, error) {
	c, err := cp.latelySeen(ctx)
	if err != nil {
		return nil, err
	}
	d, _ := FindDatastore(c, cmp.Or(m.Datastore, m.Set.Datastore))
	v, ok := FindVersion(d.Versions, cmp.Or(m.Version, m.Set.Version))
	if !ok {
		return nil, nil
	}
	source, replicas, members := whereIs(m)
	return v.Server.ConnectionStrings(source, replicas, members), nil
}

// whereIs are the addresses of the members of an instance's set that take part in it, or of the instance alone.
func whereIs(m lifecycle.Member) (source string, replicas, members []string) {
	if len(m.Set.Members) == 0 {
		if _, source = lifecycle.Reached(m.Instance); source != "" {
			members = []string{source}
		}
		return source, nil, members
	}
	for _, one := range m.Set.Members {
		switch {
		case one.Address == "" || one.State != "":
		case one.Role == etcdschema.RoleSource:
			source, members = one.Address, append([]string{one.Address}, members...)
		default:
			if one.Role == etcdschema.RoleReplica {
				replicas = append(replicas, one.Address)
			}
			members = append(members, one.Address)
		}
	}
	return source, replicas, members
}

// defaultDatastore is what a create is of that names none: the only datastore, or the only one that its operator calls the default; "": none.
func defaultDatastore(c etcdschema.Catalogue) (name string) {
	for _, d := range c.Datastores {
		if d.Datastore.Default || len(c.Datastores) == 1 {
			if name != "" {
				return "" // two of them are none
			}
			name = d.Name
		}
	}
	return name
}

func datastoreNames(c etcdschema.Catalogue) string {
	if len(c.Datastores) == 0 {
		return "none; an operator has to put a definition"
	}
	names := make([]string, len(c.Datastores))
	for i, d := range c.Datastores {
		names[i] = d.Name
	}
	return strings.Join(names, ", ")
}
