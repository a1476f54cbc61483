package api

import (
	"net/http"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
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
func (a *API) rules(r *request) (control.NameRules, error) {
	return a.Control.NamesOf(r.ctx, r.Caller, r.param("id"))
}

func (a *API) createDatabases(r *request) (reply, error) {
	body, err := decode[struct {
		Databases []control.DatabaseBody `json:"databases"`
		Database  *control.DatabaseBody  `json:"database"` // openstacksdk
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Database != nil {
		body.Databases = append(body.Databases, *body.Database)
	}
	if len(body.Databases) == 0 {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'databases' must name at least one.")
	}
	rules, err := a.rules(r)
	if err != nil {
		return reply{}, err
	}
	dbs, err := control.CheckDatabases(body.Databases, rules)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusAccepted}, a.callGuest(r, datastores.MethodCreateDatabase, datastores.CreateDatabaseArgs{Databases: dbs}, nil)
}

func (a *API) listDatabases(r *request) (reply, error) {
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	var page datastores.DatabasePage
	if err := a.callGuest(r, datastores.MethodListDatabases, datastores.ListArgs{Limit: limit, Marker: marker}, &page); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, listBody("databases", nameViews(page.Databases), a.nextLink(r, page.Next, limit))}, nil
}

// showDatabase is 501 in every Trove.
func (a *API) showDatabase(r *request) (reply, error) {
	if _, err := a.instance(r); err != nil {
		return reply{}, err
	}
	return reply{}, fault.Errorf(fault.NotImplemented, "A single database cannot be shown; list them.")
}

func (a *API) deleteDatabase(r *request) (reply, error) {
	rules, err := a.rules(r)
	if err != nil {
		return reply{}, err
	}
	if err := control.CheckDatabase(r.param("name"), rules); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusAccepted}, a.callGuest(r, datastores.MethodDeleteDatabase, datastores.DatabaseArgs{Name: r.param("name")}, nil)
}
