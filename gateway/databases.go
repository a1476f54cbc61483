package gateway

import (
	"net/http"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// nameView is a database in a list: its name, as in Trove.
type nameView struct {
	Name string `json:"name"`
}

func nameViews(dbs []datastores.Database) []nameView {
	views := make([]nameView, len(dbs))
	for i, db := range dbs {
		views[i] = nameView{db.Name}
	}
	return views
}

// rules reads what names the instance's datastore takes.
func (g *Gateway) rules(r *request) (nameRules, error) {
	in, err := g.instance(r)
	if err != nil {
		return nameRules{}, err
	}
	guest, err := etcdschema.Get(r.ctx, g.store, etcdschema.InstanceGuestKey(in.ID))
	if err != nil {
		return nameRules{}, err
	}
	reserved, err := datastores.CommonOptions(guest.Value)
	return nameRules{in.Names, reserved}, err
}

func (g *Gateway) createDatabases(r *request) (reply, error) {
	body, err := decode[struct {
		Databases []databaseBody `json:"databases"`
		Database  *databaseBody  `json:"database"` // openstacksdk
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Database != nil {
		body.Databases = append(body.Databases, *body.Database)
	}
	if len(body.Databases) == 0 {
		return reply{}, faultf(badRequest, "Validation error: 'databases' must name at least one.")
	}
	rules, err := g.rules(r)
	if err != nil {
		return reply{}, err
	}
	dbs, err := checkDatabases(body.Databases, rules)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusAccepted}, g.callGuest(r, datastores.MethodCreateDatabase, datastores.CreateDatabaseArgs{Databases: dbs}, nil)
}

func (g *Gateway) listDatabases(r *request) (reply, error) {
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	var page datastores.DatabasePage
	if err := g.callGuest(r, datastores.MethodListDatabases, datastores.ListArgs{Limit: limit, Marker: marker}, &page); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, listBody("databases", nameViews(page.Databases), g.nextLink(r, page.Next, limit))}, nil
}

// showDatabase is 501 in every Trove.
func (g *Gateway) showDatabase(r *request) (reply, error) {
	if _, err := g.instance(r); err != nil {
		return reply{}, err
	}
	return reply{}, faultf(notImplemented, "A single database cannot be shown; list them.")
}

func (g *Gateway) deleteDatabase(r *request) (reply, error) {
	rules, err := g.rules(r)
	if err != nil {
		return reply{}, err
	}
	if err := checkDatabase(r.param("name"), rules); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusAccepted}, g.callGuest(r, datastores.MethodDeleteDatabase, datastores.DatabaseArgs{Name: r.param("name")}, nil)
}
