package etcdschema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema/strict"
)

// Catalogue is what operators have defined: what may be offered, and what is wrong with the rest.
type Catalogue struct {
	Datastores []CatalogueDatastore // by name
	Problems   []Problem            // by key
	Revision   int64
	// Hosts are what hosts say of definitions, by host; Definitions are those that they should be asked about.
	Hosts       map[string]HostCheck
	Definitions []deployments.Definition
}

// CatalogueDatastore is a datastore with the versions of it that may be offered, by name. Active and inactive ones are
// both there: who may see what is the API's matter.
type CatalogueDatastore struct {
	Name string
	// Datastore is the operator's record, or a zero one. DefaultVersion is filled in: when the record names none that is
	// offered, the newest active version. "": there is none.
	Datastore Datastore
	Versions  []Version
}

// Version is a datastore version that may be offered.
type Version struct {
	Datastore string
	Name      string
	Server    datastores.ServerOptions
	Guest     json.RawMessage // an object; defaults are the plug-in's
	// StaleSince is the revision since which the definition is bad: the one before it stays in force. 0: it is good.
	StaleSince int64
	// Unserved says why no host can serve the version. "": one can, or has not said; or there are no hosts.
	Unserved string
}

// Definition is what hosts judge of the version.
func (v Version) Definition() deployments.Definition {
	return deployments.Definition{Manager: v.Server.Manager, Image: v.Server.Image, Guest: v.Guest}
}

// Offered reports whether tenants may see the version.
func (v Version) Offered() bool { return v.Server.Active == nil || *v.Server.Active }

// Problem is one thing that is wrong with what operators have defined.
type Problem struct {
	Datastore string `json:"datastore,omitempty"`
	Version   string `json:"version,omitempty"`
	Key       string `json:"key"`
	Path      string `json:"path,omitempty"` // in the value; "": all of it
	Message   string `json:"message"`
	// InForce: the last good revision of it is still in force.
	InForce bool `json:"in_force"`
}

func (p Problem) Error() string {
	text := p.Key + ": " + (&strict.OptionError{Path: p.Path, Message: p.Message}).Error()
	if p.InForce {
		text += " (the last good revision stays in force)"
	}
	return text
}

// FindVersion finds a version by name; false when it is not in the catalogue.
func (c Catalogue) FindVersion(datastore, version string) (Version, bool) {
	for _, d := range c.Datastores {
		for _, v := range d.Versions {
			if d.Name == datastore && v.Name == version {
				return v, true
			}
		}
	}
	return Version{}, false
}

// Catalogue reads and judges all definitions of datastores, with what hosts say of them, in one transaction; each bad one
// costs a few reads more, of its earlier revisions.
func (s *Store) Catalogue(ctx context.Context) (Catalogue, error) {
	var reads []clientv3.Op
	for _, prefix := range CataloguePrefixes() {
		reads = append(reads, clientv3.OpGet(prefix, clientv3.WithPrefix()))
	}
	resp, err := s.client.Txn(ctx).Then(reads...).Commit()
	if err != nil {
		return Catalogue{}, fmt.Errorf("cannot read the definitions: %w", err)
	}
	found := gather(resp)
	c := Catalogue{Revision: resp.Header.Revision, Problems: found.strange, Hosts: found.checks}
	s.judged.keep(found.versions)
	byName := map[string]*CatalogueDatastore{}
	for name, now := range found.records {
		record, problems, err := s.datastoreInForce(ctx, name, now)
		if err != nil {
			return Catalogue{}, err
		}
		c.Problems = append(c.Problems, problems...)
		byName[name] = &CatalogueDatastore{Name: name, Datastore: record}
	}
	for name, now := range found.versions {
		v, offered, problems, err := s.versionInForce(ctx, &c, name, now)
		if err != nil {
			return Catalogue{}, err
		}
		c.Problems = append(c.Problems, problems...)
		if !offered {
			continue
		}
		if byName[name.datastore] == nil {
			byName[name.datastore] = &CatalogueDatastore{Name: name.datastore}
		}
		byName[name.datastore].Versions = append(byName[name.datastore].Versions, v)
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		d := byName[name]
		slices.SortFunc(d.Versions, func(a, b Version) int { return strings.Compare(a.Name, b.Name) })
		c.Problems = append(c.Problems, d.settleDefault()...)
		c.Datastores = append(c.Datastores, *d)
	}
	slices.SortStableFunc(c.Problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	return c, nil
}

// settleDefault fills in the default version. A version that is not active, or that no host can serve, gives way to one that can be
// had.
func (d *CatalogueDatastore) settleDefault() []Problem {
	var newest *Version
	var names []string
	why := fmt.Sprintf("%q is not offered", d.Datastore.DefaultVersion)
	for i, v := range d.Versions {
		named, had := v.Name == d.Datastore.DefaultVersion, v.Offered() && v.Unserved == ""
		switch {
		case named && had:
			return nil
		case named && !v.Offered():
			why = fmt.Sprintf("%q is not active", v.Name)
		case named:
			why = fmt.Sprintf("no host can serve %q: %s", v.Name, v.Unserved)
		case had:
			names = append(names, v.Name)
		}
		if had && (newest == nil || compareVersions(v, *newest) > 0) {
			newest = &d.Versions[i]
		}
	}
	asked := d.Datastore.DefaultVersion
	if newest == nil && slices.ContainsFunc(d.Versions, func(v Version) bool { return v.Name == asked }) {
		return nil // there is nothing better
	}
	d.Datastore.DefaultVersion = ""
	if newest != nil {
		d.Datastore.DefaultVersion = newest.Name
	}
	if asked == "" {
		return nil
	}
	offered := "no version is"
	if len(names) > 0 {
		offered = "offered are: " + strings.Join(names, ", ")
	}
	return []Problem{{
		Datastore: d.Name, Key: DatastoreKey(d.Name).path, Path: "default_version", Message: why + "; " + offered,
	}}
}

// problemsOf turns what a judge found into problems of these keys.
func problemsOf(err error, name versionName, keyOf func(half string) string, inForce bool) []Problem {
	var all *multierror.Error
	if !errors.As(err, &all) {
		return nil
	}
	var problems []Problem
	for _, one := range all.Errors {
		if o := (*strict.OptionError)(nil); errors.As(one, &o) {
			problems = append(problems, Problem{
				Datastore: name.datastore, Version: name.version,
				Key: keyOf(o.Half), Path: o.Path, Message: o.Message, InForce: inForce,
			})
		}
	}
	return problems
}
