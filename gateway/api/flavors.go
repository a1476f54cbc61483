package api

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
)

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
