package api

import (
	"net/http"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
)

// mgmtVersionView is a datastore version as operators see it.
type mgmtVersionView struct {
	ID            string   `json:"id"`
	Name          string   `json:"name"`
	Version       string   `json:"version"` // the server's number
	DatastoreID   string   `json:"datastore_id"`
	DatastoreName string   `json:"datastore_name"`
	Manager       string   `json:"datastore_manager"`
	Image         string   `json:"image"`
	ImageTags     []string `json:"image_tags"`
	Packages      []string `json:"packages"`
	Active        bool     `json:"active"`
	Default       bool     `json:"default"`
}

func viewMgmtVersion(d etcdschema.CatalogueDatastore, v etcdschema.Version) mgmtVersionView {
	view := mgmtVersionView{
		ID: etcdschema.VersionID(v.Datastore, v.Name), Name: v.Name, Version: v.Server.VersionNumber,
		DatastoreID: etcdschema.DatastoreID(d.Name), DatastoreName: d.Name, Manager: v.Server.Manager, Image: v.Server.Image,
		ImageTags: v.Server.ImageTags, Packages: packagesOf(v), Active: v.Offered(), Default: d.Datastore.DefaultVersion == v.Name,
	}
	if view.ImageTags == nil {
		view.ImageTags = []string{}
	}
	return view
}

// packagesOf are what a version needs to be installed, never nil.
func packagesOf(v etcdschema.Version) []string {
	if options, err := datastores.CommonOptions(v.Guest); err == nil && options.Packages != nil {
		return options.Packages
	}
	return []string{}
}

// mgmtListVersions lists all versions of all datastores, those too that tenants do not see.
func (a *API) mgmtListVersions(r *request) (reply, error) {
	catalogue, err := a.Control.Catalogue(r.ctx)
	if err != nil {
		return reply{}, err
	}
	views := []mgmtVersionView{}
	for _, d := range catalogue.Datastores {
		for _, v := range d.Versions {
			views = append(views, viewMgmtVersion(d, v))
		}
	}
	return reply{http.StatusOK, map[string]any{"versions": views}}, nil
}

func (a *API) mgmtShowVersion(r *request) (reply, error) {
	v, err := a.datastoreVersion(r)
	if err != nil {
		return reply{}, err
	}
	catalogue, err := a.Control.Catalogue(r.ctx)
	d, _ := control.FindDatastore(catalogue, v.Datastore)
	return reply{http.StatusOK, map[string]any{"version": viewMgmtVersion(d, v)}}, err
}

func (a *API) mgmtCreateVersion(r *request) (reply, error) {
	body, err := decode[struct {
		Version *control.VersionRequest `json:"version"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Version == nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'version' is a required property.")
	}
	err = a.Control.DefineVersion(r.ctx, *body.Version)
	a.operatorDid(r, "defined", body.Version.Datastore, err)
	return accepted(err)
}

// mgmtUpdateVersion takes a flat body, as Trove does.
func (a *API) mgmtUpdateVersion(r *request) (reply, error) {
	req, err := decode[control.VersionRequest](r)
	if err != nil {
		return reply{}, err
	}
	v, err := a.datastoreVersion(r)
	if err == nil {
		err = a.Control.ChangeVersion(r.ctx, v, req)
	}
	a.operatorDid(r, "changed", v.Datastore+" "+v.Name, err)
	return accepted(err)
}

func (a *API) mgmtDeleteVersion(r *request) (reply, error) {
	v, err := a.datastoreVersion(r)
	if err == nil {
		err = a.Control.RemoveVersion(r.ctx, v)
	}
	a.operatorDid(r, "deleted", v.Datastore+" "+v.Name, err)
	return accepted(err)
}

func (a *API) deleteDatastore(r *request) (reply, error) {
	err := a.Control.RemoveDatastore(r.ctx, r.param("datastore"))
	a.operatorDid(r, "deleted", r.param("datastore"), err)
	return accepted(err)
}

// operatorDid logs who has changed a definition: etcd does not tell.
func (a *API) operatorDid(r *request, what, definition string, err error) {
	if err == nil {
		a.Control.Log.Info("a definition was "+what, "request_id", r.Request, "user", r.Who.UserName, "definition", definition)
	}
}
