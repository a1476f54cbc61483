package control

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
)

// problems are what was last found wrong with the definitions. The log says each thing once.
type problems struct {
	mu    sync.Mutex
	known []string
	read  bool // known is of the last reading of [Plane.WatchCatalogue], or of a later one
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
	cp.problems.mu.Lock()
	defer cp.problems.mu.Unlock()
	var now []string
	for _, p := range c.Problems {
		now = append(now, p.Error())
		if !slices.Contains(cp.problems.known, p.Error()) {
			cp.Log.Warn("a definition is not good", "key", p.Key, "path", p.Path, "problem", p.Message, "last_good_in_force", p.InForce)
		}
	}
	cp.problems.known, cp.problems.read = now, true
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
			cp.problems.mu.Lock()
			cp.problems.read = false
			cp.problems.mu.Unlock()
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
	cp.problems.mu.Lock()
	defer cp.problems.mu.Unlock()
	if !cp.problems.read {
		return -1
	}
	return float64(len(cp.problems.known))
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
