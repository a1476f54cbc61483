package gateway

import (
	"net/http"
	"strings"

	"github.com/cofferdb/coffer/etcdschema"
)

// datastoreView is a datastore as clients see it.
type datastoreView struct {
	ID             string        `json:"id"`
	Name           string        `json:"name"`
	Description    string        `json:"description,omitempty"`
	DefaultVersion string        `json:"default_version,omitempty"` // its id
	Links          []link        `json:"links"`
	Versions       []versionView `json:"versions"`
}

type versionView struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Version   string   `json:"version,omitempty"` // the server's number
	Links     []link   `json:"links"`
	Datastore string   `json:"datastore,omitempty"` // id; when shown by itself
	Active    *bool    `json:"active,omitempty"`    // admins only, as the rest
	Unserved  string   `json:"unserved,omitempty"`  // why no host can serve it
	Packages  *string  `json:"packages,omitempty"`
	Image     *string  `json:"image,omitempty"`
	ImageTags []string `json:"image_tags,omitempty"`
}

func (g *Gateway) viewDatastore(r *request, d etcdschema.CatalogueDatastore) datastoreView {
	id := etcdschema.DatastoreID(d.Name)
	v := datastoreView{
		ID: id, Name: d.Name, Description: d.Datastore.Description, Links: g.links(r, "datastores/"+id), Versions: []versionView{},
	}
	for _, version := range g.shown(r, d) {
		v.Versions = append(v.Versions, g.viewVersion(r, version))
		if version.Name == d.Datastore.DefaultVersion { // clients look for it among the versions
			v.DefaultVersion = etcdschema.VersionID(d.Name, version.Name)
		}
	}
	return v
}

func (g *Gateway) viewVersion(r *request, version etcdschema.Version) versionView {
	id := etcdschema.VersionID(version.Datastore, version.Name)
	v := versionView{
		ID: id, Name: version.Name, Version: version.Server.VersionNumber,
		Links: g.links(r, "datastores/"+etcdschema.DatastoreID(version.Datastore)+"/versions/"+id),
	}
	if r.who.Admin() {
		active := version.Offered()
		v.Active, v.Image, v.ImageTags = &active, &version.Server.Image, version.Server.ImageTags
		v.Unserved = version.Unserved
	}
	return v
}

// shown leaves out what is hidden from all but admins: inactive versions, and those that nobody can have, since no host can
// serve them and there are no machines to boot.
func (g *Gateway) shown(r *request, d etcdschema.CatalogueDatastore) []etcdschema.Version {
	if r.who.Admin() {
		return d.Versions
	}
	var active []etcdschema.Version
	for _, v := range d.Versions {
		if v.Offered() && (v.Unserved == "" || len(g.AgentURLs) > 0) {
			active = append(active, v)
		}
	}
	return active
}

func (g *Gateway) listDatastores(r *request) (reply, error) {
	catalogue, err := g.catalogue(r.ctx)
	if err != nil {
		return reply{}, err
	}
	views := []datastoreView{}
	for _, d := range catalogue.Datastores {
		if len(g.shown(r, d)) > 0 {
			views = append(views, g.viewDatastore(r, d))
		}
	}
	return reply{http.StatusOK, map[string]any{"datastores": views}}, nil
}

// datastore finds the datastore of the path, by id or name.
func (g *Gateway) datastore(r *request) (etcdschema.CatalogueDatastore, error) {
	catalogue, err := g.catalogue(r.ctx)
	if err != nil {
		return etcdschema.CatalogueDatastore{}, err
	}
	d, ok := findDatastore(catalogue, r.param("datastore"))
	if !ok || len(g.shown(r, d)) == 0 {
		return d, faultf(itemNotFound, "Datastore %s cannot be found.", r.param("datastore"))
	}
	return d, nil
}

func findDatastore(c etcdschema.Catalogue, ref string) (etcdschema.CatalogueDatastore, bool) {
	for _, d := range c.Datastores {
		if d.Name == ref || etcdschema.DatastoreID(d.Name) == ref {
			return d, true
		}
	}
	return etcdschema.CatalogueDatastore{}, false
}

func findVersion(versions []etcdschema.Version, ref string) (etcdschema.Version, bool) {
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
			return etcdschema.Version{}, faultf(badRequest, "Say which datastore: instance['datastore']['type'] is one of: %s.", datastoreNames(c))
		}
		datastore = c.Datastores[0].Name
	}
	d, ok := findDatastore(c, datastore)
	if !ok {
		return etcdschema.Version{}, faultf(itemNotFound, "Datastore '%s' cannot be found; there is: %s.", datastore, datastoreNames(c))
	}
	if version == "" {
		version = d.Datastore.DefaultVersion
	}
	if version == "" {
		return etcdschema.Version{}, faultf(badRequest, "Datastore %s has no default version; name one.", d.Name)
	}
	v, ok := findVersion(d.Versions, version)
	if !ok || !v.Offered() {
		return v, faultf(badRequest, "Datastore version '%s' of %s cannot be found or is not active.", version, d.Name)
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

func (g *Gateway) showDatastore(r *request) (reply, error) {
	d, err := g.datastore(r)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"datastore": g.viewDatastore(r, d)}}, nil
}

func (g *Gateway) listVersions(r *request) (reply, error) {
	d, err := g.datastore(r)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"versions": g.viewDatastore(r, d).Versions}}, nil
}

// showVersion finds a version below its datastore by id or name, or by id alone.
func (g *Gateway) showVersion(r *request) (reply, error) {
	v, err := g.datastoreVersion(r)
	if err != nil {
		return reply{}, err
	}
	view := g.viewVersion(r, v)
	view.Datastore = etcdschema.DatastoreID(v.Datastore)
	return reply{http.StatusOK, map[string]any{"version": view}}, nil
}

func (g *Gateway) datastoreVersion(r *request) (etcdschema.Version, error) {
	ref := r.param("version")
	var among []etcdschema.Version
	if r.param("datastore") != "" {
		d, err := g.datastore(r)
		if err != nil {
			return etcdschema.Version{}, err
		}
		among = g.shown(r, d)
	} else {
		catalogue, err := g.catalogue(r.ctx)
		if err != nil {
			return etcdschema.Version{}, err
		}
		for _, d := range catalogue.Datastores {
			among = append(among, g.shown(r, d)...)
		}
	}
	v, ok := findVersion(among, ref)
	if !ok {
		return v, faultf(itemNotFound, "Datastore version %s cannot be found.", ref)
	}
	return v, nil
}

// datastoreProblems tells what is wrong with the definitions.
func (g *Gateway) datastoreProblems(r *request) (reply, error) {
	catalogue, err := g.settled(r.ctx)
	if err != nil {
		return reply{}, err
	}
	problems := catalogue.Problems
	if problems == nil {
		problems = []etcdschema.Problem{}
	}
	return reply{http.StatusOK, map[string]any{"problems": problems}}, nil
}
