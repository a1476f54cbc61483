package api

import (
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
)

// configurationView is a configuration group as clients see it; those of the detail are left out of lists.
type configurationView struct {
	ID                   string             `json:"id"`
	Name                 string             `json:"name"`
	Description          *string            `json:"description"`
	Created              string             `json:"created"`
	Updated              string             `json:"updated"`
	DatastoreName        string             `json:"datastore_name"`
	DatastoreVersionID   string             `json:"datastore_version_id"`
	DatastoreVersionName string             `json:"datastore_version_name"`
	VersionNumber        string             `json:"datastore_version_number"` // "" of a version that is not defined any more
	InstanceCount        *int               `json:"instance_count,omitempty"`
	Values               *datastores.Values `json:"values,omitempty"`
}

func viewConfiguration(c etcdschema.Configuration, catalogue etcdschema.Catalogue) configurationView {
	version, _ := catalogue.FindVersion(c.Datastore, c.Version)
	return configurationView{
		ID: c.ID, Name: c.Name, Description: optional(c.Description), Created: control.Stamp(c.Created), Updated: control.Stamp(c.Updated),
		DatastoreName: c.Datastore, DatastoreVersionID: etcdschema.VersionID(c.Datastore, c.Version), DatastoreVersionName: c.Version,
		VersionNumber: version.Server.VersionNumber,
	}
}

func detailConfiguration(c etcdschema.Configuration, catalogue etcdschema.Catalogue) configurationView {
	v := viewConfiguration(c, catalogue)
	count := len(c.Instances)
	v.InstanceCount, v.Values = &count, &c.Values
	return v
}

// listConfigurations lists the project's groups, and to admins, as Trove does, everybody's.
func (a *API) listConfigurations(r *request) (reply, error) {
	from, read := etcdschema.Configurations(r.Project), readPage[etcdschema.Configuration]
	if r.Who.Admin() {
		from, read = etcdschema.AllConfigurations(), readAllPage[etcdschema.Configuration]
	}
	records, next, err := read(a, r, from)
	if err != nil {
		return reply{}, err
	}
	catalogue, err := a.Control.Catalogue(r.ctx)
	if err != nil {
		return reply{}, err
	}
	views := []configurationView{}
	for _, rec := range records {
		views = append(views, viewConfiguration(rec.Value, catalogue))
	}
	return reply{http.StatusOK, listBody("configurations", views, next)}, nil
}

func (a *API) showConfiguration(r *request) (reply, error) {
	c, err := a.Control.FindConfiguration(r.ctx, r.Caller, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	catalogue, err := a.Control.Catalogue(r.ctx)
	return reply{http.StatusOK, map[string]any{"configuration": detailConfiguration(c, catalogue)}}, err
}

func decodeConfiguration(r *request) (control.ConfigurationRequest, error) {
	body, err := decode[struct {
		Configuration *control.ConfigurationRequest `json:"configuration"`
	}](r)
	if err != nil {
		return control.ConfigurationRequest{}, err
	}
	if body.Configuration == nil {
		return control.ConfigurationRequest{}, fault.Errorf(fault.BadRequest, "Validation error: 'configuration' is a required property.")
	}
	return *body.Configuration, nil
}

func (a *API) createConfiguration(r *request) (reply, error) {
	req, err := decodeConfiguration(r)
	if err != nil {
		return reply{}, err
	}
	group, catalogue, err := a.Control.NewConfiguration(r.ctx, r.Caller, req)
	return reply{http.StatusOK, map[string]any{"configuration": detailConfiguration(group, catalogue)}}, err
}

// patchConfiguration merges values over those that are there.
func (a *API) patchConfiguration(r *request) (reply, error) {
	req, err := decodeConfiguration(r)
	if err == nil {
		err = a.Control.EditConfiguration(r.ctx, r.Caller, r.param("id"), req, true)
	}
	return reply{status: http.StatusOK}, err
}

// putConfiguration replaces the values.
func (a *API) putConfiguration(r *request) (reply, error) {
	req, err := decodeConfiguration(r)
	if err == nil {
		err = a.Control.EditConfiguration(r.ctx, r.Caller, r.param("id"), req, false)
	}
	return accepted(err)
}

func (a *API) deleteConfiguration(r *request) (reply, error) {
	return accepted(a.Control.RemoveConfiguration(r.ctx, r.Caller, r.param("id")))
}

func (a *API) listConfigurationInstances(r *request) (reply, error) {
	c, err := a.Control.FindConfiguration(r.ctx, r.Caller, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	ids := slices.Sorted(slices.Values(c.Instances))
	ids = slices.DeleteFunc(ids, func(id string) bool { return id <= marker })
	var next []link
	if len(ids) > limit {
		ids = ids[:limit]
		next = a.nextLink(r, ids[limit-1], limit)
	}
	views := []map[string]string{}
	for _, id := range ids {
		rec, err := etcdschema.Get(r.ctx, a.Control.Store, etcdschema.InstanceKey(c.Project, id))
		if fault.IsNotFound(err) {
			continue
		}
		if err != nil {
			return reply{}, err
		}
		views = append(views, map[string]string{"id": id, "name": rec.Value.Name})
	}
	return reply{http.StatusOK, listBody("instances", views, next)}, nil
}

// instanceConfiguration tells what the instance's server has without a group.
func (a *API) instanceConfiguration(r *request) (reply, error) {
	defaults, err := a.Control.DefaultConfiguration(r.ctx, r.Caller, r.param("id"))
	return reply{http.StatusOK, map[string]any{"instance": datastores.ConfigurationReply{Configuration: defaults}}}, err
}
