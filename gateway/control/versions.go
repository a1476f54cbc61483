package control

import (
	"context"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
)

// EditParameters changes the rules in a version's definition, which must be good before and after.
func (cp *Plane) EditParameters(ctx context.Context, v etcdschema.Version, edit func([]datastores.Parameter) ([]datastores.Parameter, error)) error {
	key := etcdschema.VersionKey(v.Datastore, v.Name)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		server := rec.Value
		if server.Parameters, err = edit(slices.Clone(server.Parameters)); err != nil {
			return nil, err
		}
		if problems := server.Problems(); len(problems) > 0 {
			return nil, fault.Errorf(fault.BadRequest, "Validation error: %v.", problems[0])
		}
		return []etcdschema.Op{etcdschema.Put(key, server)}, nil
	})
	return err
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
// Trove; without a type the only datastore is meant.
func chooseVersion(c etcdschema.Catalogue, datastore, version string) (etcdschema.Version, error) {
	if datastore == "" {
		if len(c.Datastores) != 1 {
			return etcdschema.Version{}, fault.Errorf(fault.BadRequest, "Say which datastore: instance['datastore']['type'] is one of: %s.", datastoreNames(c))
		}
		datastore = c.Datastores[0].Name
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
