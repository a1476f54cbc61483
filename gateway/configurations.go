package gateway

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
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
		ID: c.ID, Name: c.Name, Description: optional(c.Description), Created: stamp(c.Created), Updated: stamp(c.Updated),
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
func (g *Gateway) listConfigurations(r *request) (reply, error) {
	from, read := etcdschema.Configurations(r.project), readPage[etcdschema.Configuration]
	if r.who.Admin() {
		from, read = etcdschema.AllConfigurations(), readAllPage[etcdschema.Configuration]
	}
	records, next, err := read(g, r, from)
	if err != nil {
		return reply{}, err
	}
	catalogue, err := g.catalogue(r.ctx)
	if err != nil {
		return reply{}, err
	}
	views := []configurationView{}
	for _, rec := range records {
		views = append(views, viewConfiguration(rec.Value, catalogue))
	}
	return reply{http.StatusOK, listBody("configurations", views, next)}, nil
}

func (g *Gateway) findConfiguration(r *request, id string) (etcdschema.Configuration, error) {
	rec, err := etcdschema.Get(r.ctx, g.store, etcdschema.ConfigurationKey(r.project, id))
	if isNotFound(err) {
		err = notFound("Configuration", id)
	}
	return rec.Value, err
}

func (g *Gateway) showConfiguration(r *request) (reply, error) {
	c, err := g.findConfiguration(r, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	catalogue, err := g.catalogue(r.ctx)
	return reply{http.StatusOK, map[string]any{"configuration": detailConfiguration(c, catalogue)}}, err
}

type configurationRequest struct {
	Name        *string            `json:"name"`
	Description *string            `json:"description"`
	Values      *datastores.Values `json:"values"`
	Datastore   struct {
		Type    string `json:"type"`
		Version string `json:"version"`
	} `json:"datastore"`
}

func decodeConfiguration(r *request) (configurationRequest, error) {
	body, err := decode[struct {
		Configuration *configurationRequest `json:"configuration"`
	}](r)
	if err != nil {
		return configurationRequest{}, err
	}
	if body.Configuration == nil {
		return configurationRequest{}, faultf(badRequest, "Validation error: 'configuration' is a required property.")
	}
	if name := body.Configuration.Name; name != nil && !nonEmpty(*name) {
		return configurationRequest{}, faultf(badRequest, "Validation error: configuration['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	if text := body.Configuration.Description; text != nil {
		if err := bounded("configuration['description']", *text, maxDescription); err != nil {
			return configurationRequest{}, err
		}
	}
	return *body.Configuration, nil
}

func (g *Gateway) createConfiguration(r *request) (reply, error) {
	req, err := decodeConfiguration(r)
	if err != nil {
		return reply{}, err
	}
	if req.Name == nil || req.Values == nil {
		return reply{}, faultf(badRequest, "Validation error: configuration needs 'name' and 'values'.")
	}
	catalogue, err := g.catalogue(r.ctx)
	if err != nil {
		return reply{}, err
	}
	version, err := chooseVersion(catalogue, req.Datastore.Type, req.Datastore.Version)
	if err != nil {
		return reply{}, err
	}
	now := g.now().UTC()
	c := etcdschema.Configuration{
		ID: newID(), Project: r.project, Name: *req.Name, Datastore: version.Datastore, Version: version.Name, Values: *req.Values, Created: now, Updated: now,
	}
	if req.Description != nil {
		c.Description = *req.Description
	}
	if err := checkValues(version, c.Values); err != nil {
		return reply{}, err
	}
	_, err = g.store.Update(r.ctx, nil, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		ops, err := g.account(s, r.project, func(u etcdschema.Usage) etcdschema.Usage { u.Configurations++; return u })
		return append(ops, etcdschema.Put(etcdschema.ConfigurationKey(r.project, c.ID), c)), err
	})
	return reply{http.StatusOK, map[string]any{"configuration": detailConfiguration(c, catalogue)}}, err
}

// checkValues holds values against the rules of a datastore version: 422 with all that is wrong.
func checkValues(version etcdschema.Version, values datastores.Values) error {
	if text, err := json.Marshal(values); err != nil || len(text) > maxValues {
		return over("values", badRequest, "The values of a configuration group may have %d bytes together.", maxValues)
	}
	if len(version.Server.Parameters) == 0 {
		return faultf(unprocessable, "%s %s has no parameters that can be set.", version.Datastore, version.Name)
	}
	problems := datastores.CheckValues(version.Server.Parameters, values)
	if len(problems) == 0 {
		return nil
	}
	return faultf(unprocessable, "The values are not valid: %s. GET datastores/%s/versions/%s/parameters lists what there is.", listed(problems), version.Datastore, version.Name)
}

// listed puts problems into one line.
func listed(problems []error) string {
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "; ")
}

// patchConfiguration merges values over those that are there.
func (g *Gateway) patchConfiguration(r *request) (reply, error) {
	err := g.editConfiguration(r, func(c *etcdschema.Configuration, values datastores.Values) {
		merged := datastores.Values{}
		for _, from := range []datastores.Values{c.Values, values} {
			for name, value := range from {
				merged[name] = value
			}
		}
		c.Values = merged
	})
	return reply{status: http.StatusOK}, err
}

// putConfiguration replaces the values.
func (g *Gateway) putConfiguration(r *request) (reply, error) {
	err := g.editConfiguration(r, func(c *etcdschema.Configuration, values datastores.Values) { c.Values = values })
	return reply{status: http.StatusAccepted}, err
}

// editConfiguration changes a group and brings it to the instances that have it.
func (g *Gateway) editConfiguration(r *request, edit func(*etcdschema.Configuration, datastores.Values)) error {
	req, err := decodeConfiguration(r)
	if err != nil {
		return err
	}
	catalogue, err := g.catalogue(r.ctx)
	if err != nil {
		return err
	}
	key := etcdschema.ConfigurationKey(r.project, r.param("id"))
	var after etcdschema.Configuration
	_, err = g.store.Update(r.ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		c, err := mustFind(rec, err, "Configuration", r.param("id"))
		if err != nil {
			return nil, err
		}
		if req.Name != nil {
			c.Name = *req.Name
		}
		if req.Description != nil {
			c.Description = *req.Description
		}
		if req.Values != nil {
			edit(&c, *req.Values)
			version, ok := catalogue.FindVersion(c.Datastore, c.Version)
			if !ok {
				return nil, faultf(unprocessable, "%s %s is not offered any more, so its parameters are not known.", c.Datastore, c.Version)
			}
			if err := checkValues(version, c.Values); err != nil {
				return nil, err
			}
		}
		c.Updated = g.now().UTC()
		after = c
		return []etcdschema.Op{etcdschema.Put(key, c)}, nil
	})
	if err != nil || req.Values == nil {
		return err
	}
	return g.reconfigure(r, after)
}

func (g *Gateway) deleteConfiguration(r *request) (reply, error) {
	key := etcdschema.ConfigurationKey(r.project, r.param("id"))
	_, err := g.store.Update(r.ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		c, err := mustFind(rec, err, "Configuration", r.param("id"))
		if err == nil && len(c.Instances) > 0 {
			err = faultf(badRequest, "Configuration %s is attached to %d instances; detach it first.", c.ID, len(c.Instances))
		}
		if err != nil {
			return nil, err
		}
		ops, err := g.account(s, r.project, func(u etcdschema.Usage) etcdschema.Usage {
			u.Configurations = max(0, u.Configurations-1)
			return u
		})
		return append(ops, etcdschema.Delete(key)), err
	})
	return reply{status: http.StatusAccepted}, err
}

func (g *Gateway) listConfigurationInstances(r *request) (reply, error) {
	c, err := g.findConfiguration(r, r.param("id"))
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
		next = g.nextLink(r, ids[limit-1], limit)
	}
	views := []map[string]string{}
	for _, id := range ids {
		rec, err := etcdschema.Get(r.ctx, g.store, etcdschema.InstanceKey(c.Project, id))
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return reply{}, err
		}
		views = append(views, map[string]string{"id": id, "name": rec.Value.Name})
	}
	return reply{http.StatusOK, listBody("instances", views, next)}, nil
}

// configurationFor reads the group with which a new instance of a version is made; the zero one for none.
func (g *Gateway) configurationFor(r *request, ref string, version etcdschema.Version) (etcdschema.Configuration, error) {
	id := lastPart(ref)
	if id == "" {
		return etcdschema.Configuration{}, nil
	}
	c, err := g.findConfiguration(r, id)
	if err == nil && (c.Datastore != version.Datastore || c.Version != version.Name) {
		err = faultf(badRequest, "Configuration %s is for %s %s, not for %s %s.", id, c.Datastore, c.Version, version.Datastore, version.Name)
	}
	return c, err
}

// instanceConfiguration tells what the instance's server has without a group.
func (g *Gateway) instanceConfiguration(r *request) (reply, error) {
	var defaults datastores.ConfigurationReply
	if err := g.callGuest(r, datastores.MethodGetConfiguration, nil, &defaults); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"instance": defaults}}, nil
}
