package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
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

func (a *API) viewDatastore(r *request, d etcdschema.CatalogueDatastore) datastoreView {
	id := etcdschema.DatastoreID(d.Name)
	v := datastoreView{
		ID: id, Name: d.Name, Description: d.Datastore.Description, Links: a.links(r, "datastores/"+id), Versions: []versionView{},
	}
	for _, version := range a.shown(r, d) {
		v.Versions = append(v.Versions, a.viewVersion(r, version))
		if version.Name == d.Datastore.DefaultVersion { // clients look for it among the versions
			v.DefaultVersion = etcdschema.VersionID(d.Name, version.Name)
		}
	}
	return v
}

func (a *API) viewVersion(r *request, version etcdschema.Version) versionView {
	id := etcdschema.VersionID(version.Datastore, version.Name)
	v := versionView{
		ID: id, Name: version.Name, Version: version.Server.VersionNumber,
		Links: a.links(r, "datastores/"+etcdschema.DatastoreID(version.Datastore)+"/versions/"+id),
	}
	if r.Who.Admin() {
		active := version.Offered()
		v.Active, v.Image, v.ImageTags = &active, &version.Server.Image, version.Server.ImageTags
		v.Unserved = version.Unserved
		packages := strings.Join(packagesOf(version), ",")
		v.Packages = &packages
	}
	return v
}

// shown leaves out what is hidden from all but admins: inactive versions, and those that nobody can have, since no host can
// serve them and there are no machines to boot.
func (a *API) shown(r *request, d etcdschema.CatalogueDatastore) []etcdschema.Version {
	if r.Who.Admin() {
		return d.Versions
	}
	var active []etcdschema.Version
	for _, v := range d.Versions {
		if v.Offered() && (v.Unserved == "" || len(a.Control.AgentURLs) > 0) {
			active = append(active, v)
		}
	}
	return active
}

func (a *API) listDatastores(r *request) (reply, error) {
	catalogue, err := a.Control.Catalogue(r.ctx)
	if err != nil {
		return reply{}, err
	}
	views := []datastoreView{}
	for _, d := range catalogue.Datastores {
		if len(a.shown(r, d)) > 0 {
			views = append(views, a.viewDatastore(r, d))
		}
	}
	return reply{http.StatusOK, map[string]any{"datastores": views}}, nil
}

// datastore finds the datastore of the path, by id or name.
func (a *API) datastore(r *request) (etcdschema.CatalogueDatastore, error) {
	catalogue, err := a.Control.Catalogue(r.ctx)
	if err != nil {
		return etcdschema.CatalogueDatastore{}, err
	}
	d, ok := control.FindDatastore(catalogue, r.param("datastore"))
	if !ok || len(a.shown(r, d)) == 0 {
		return d, fault.Errorf(fault.ItemNotFound, "Datastore %s cannot be found.", r.param("datastore"))
	}
	return d, nil
}

func (a *API) showDatastore(r *request) (reply, error) {
	d, err := a.datastore(r)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"datastore": a.viewDatastore(r, d)}}, nil
}

func (a *API) listVersions(r *request) (reply, error) {
	d, err := a.datastore(r)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"versions": a.viewDatastore(r, d).Versions}}, nil
}

// showVersion finds a version below its datastore by id or name, or by id alone.
func (a *API) showVersion(r *request) (reply, error) {
	v, err := a.datastoreVersion(r)
	if err != nil {
		return reply{}, err
	}
	view := a.viewVersion(r, v)
	view.Datastore = etcdschema.DatastoreID(v.Datastore)
	return reply{http.StatusOK, map[string]any{"version": view}}, nil
}

func (a *API) datastoreVersion(r *request) (etcdschema.Version, error) {
	ref := r.param("version")
	var among []etcdschema.Version
	if r.param("datastore") != "" {
		d, err := a.datastore(r)
		if err != nil {
			return etcdschema.Version{}, err
		}
		among = a.shown(r, d)
	} else {
		catalogue, err := a.Control.Catalogue(r.ctx)
		if err != nil {
			return etcdschema.Version{}, err
		}
		for _, d := range catalogue.Datastores {
			among = append(among, a.shown(r, d)...)
		}
	}
	v, ok := control.FindVersion(among, ref)
	if !ok {
		return v, fault.Errorf(fault.ItemNotFound, "Datastore version %s cannot be found.", ref)
	}
	return v, nil
}

// datastoreProblems tells what is wrong with the definitions.
func (a *API) datastoreProblems(r *request) (reply, error) {
	catalogue, err := a.Control.Settled(r.ctx)
	if err != nil {
		return reply{}, err
	}
	problems := catalogue.Problems
	if problems == nil {
		problems = []etcdschema.Problem{}
	}
	return reply{http.StatusOK, map[string]any{"problems": problems}}, nil
}

// flavorView is a flavor as clients see it. Its id is a number or null, str_id always a string.
type flavorView struct {
	ID        *int   `json:"id"`
	StrID     string `json:"str_id"`
	Name      string `json:"name"`
	RAM       int    `json:"ram"`
	VCPUs     int    `json:"vcpus"`
	Disk      int    `json:"disk"`
	Ephemeral int    `json:"ephemeral"`
	Links     []link `json:"links"`
}

func (a *API) viewFlavor(r *request, id string, f etcdschema.Flavor) flavorView {
	v := flavorView{StrID: id, Name: f.Name, RAM: f.RAM, VCPUs: f.VCPUs, Disk: f.Disk, Links: a.links(r, "flavors/"+id)}
	if n, err := strconv.Atoi(id); err == nil {
		v.ID = &n
	}
	return v
}

// listFlavors lists all; below a datastore version too, since every version takes every flavor.
func (a *API) listFlavors(r *request) (reply, error) {
	if r.param("version") != "" {
		if _, err := a.datastoreVersion(r); err != nil {
			return reply{}, err
		}
	}
	flavors, _, err := a.Control.Store.FlavorList(r.ctx)
	if err != nil {
		return reply{}, err
	}
	views := []flavorView{}
	for _, f := range flavors {
		views = append(views, a.viewFlavor(r, f.ID, f.Flavor))
	}
	return reply{http.StatusOK, map[string]any{"flavors": views}}, nil
}

func (a *API) showFlavor(r *request) (reply, error) {
	id := r.param("flavor")
	rec, err := etcdschema.Get(r.ctx, a.Control.Store, etcdschema.FlavorKey(id))
	if errors.Is(err, etcdschema.ErrNotFound) {
		return reply{}, fault.NotFound("Flavor", id)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"flavor": a.viewFlavor(r, id, rec.Value)}}, nil
}

// volumeTypeView is a kind of volume as clients see it.
type volumeTypeView struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	IsPublic    bool   `json:"is_public"`
	Description string `json:"description"`
}

// listVolumeTypes lists the one kind of volume that hosts make; none below a version that takes no volume.
func (a *API) listVolumeTypes(r *request) (reply, error) {
	v, err := a.datastoreVersion(r)
	views := []volumeTypeView{}
	if v.Server.VolumeSupport {
		views = append(views, volumeTypeView{"default", "default", true, "A volume that the instance's host makes."})
	}
	return reply{http.StatusOK, map[string]any{"volume_types": views}}, err
}
