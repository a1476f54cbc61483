package gateway

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/cofferdb/coffer/etcdschema"
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

func (g *Gateway) viewFlavor(r *request, id string, f etcdschema.Flavor) flavorView {
	v := flavorView{StrID: id, Name: f.Name, RAM: f.RAM, VCPUs: f.VCPUs, Disk: f.Disk, Links: g.links(r, "flavors/"+id)}
	if n, err := strconv.Atoi(id); err == nil {
		v.ID = &n
	}
	return v
}

// listFlavors lists all; below a datastore version too, since every version takes every flavor.
func (g *Gateway) listFlavors(r *request) (reply, error) {
	if r.param("version") != "" {
		if _, err := g.datastoreVersion(r); err != nil {
			return reply{}, err
		}
	}
	flavors, _, err := g.store.FlavorList(r.ctx)
	if err != nil {
		return reply{}, err
	}
	views := []flavorView{}
	for _, f := range flavors {
		views = append(views, g.viewFlavor(r, f.ID, f.Flavor))
	}
	return reply{http.StatusOK, map[string]any{"flavors": views}}, nil
}

func (g *Gateway) showFlavor(r *request) (reply, error) {
	id := r.param("flavor")
	rec, err := etcdschema.Get(r.ctx, g.store, etcdschema.FlavorKey(id))
	if errors.Is(err, etcdschema.ErrNotFound) {
		return reply{}, notFound("Flavor", id)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"flavor": g.viewFlavor(r, id, rec.Value)}}, nil
}
