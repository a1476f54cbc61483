package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/modules"
)

// matchAll is what Trove says where a module is for every project, datastore or version.
const matchAll = "all"

// moduleView is a module as clients see it. What is in it nobody is shown.
type moduleView struct {
	ID            string  `json:"id"`
	Name          string  `json:"name"`
	Type          string  `json:"type"`
	Description   *string `json:"description"`
	Tenant        string  `json:"tenant"` // "all" or a project
	TenantID      *string `json:"tenant_id"`
	Datastore     string  `json:"datastore"` // "all" or a name
	DatastoreID   *string `json:"datastore_id"`
	Version       string  `json:"datastore_version"`
	VersionID     *string `json:"datastore_version_id"`
	AutoApply     bool    `json:"auto_apply"`
	PriorityApply bool    `json:"priority_apply"`
	ApplyOrder    int     `json:"apply_order"`
	IsAdmin       bool    `json:"is_admin"`
	LiveUpdate    bool    `json:"live_update"`
	Visible       bool    `json:"visible"`
	MD5           string  `json:"md5"` // of what is in it, before base64
	InstanceCount int     `json:"instance_count"`
	Reapplying    bool    `json:"reapplying"` // beyond Trove: it is being applied again to those
	Created       string  `json:"created"`
	Updated       string  `json:"updated"`
}

func viewModule(m etcdschema.Module) moduleView {
	v := moduleView{
		ID: m.ID, Name: m.Name, Type: m.Type, Description: optional(m.Description), Tenant: matchAll, Datastore: matchAll, Version: matchAll,
		AutoApply: m.AutoApply, PriorityApply: m.PriorityApply, ApplyOrder: m.Order, IsAdmin: m.Admin, LiveUpdate: m.LiveUpdate, Visible: !m.Hidden,
		MD5: m.MD5, InstanceCount: m.Instances, Reapplying: m.Reapply != nil, Created: control.Stamp(m.Created), Updated: control.Stamp(m.Updated),
	}
	if !m.Shared {
		v.Tenant, v.TenantID = m.Project, &m.Project
	}
	if m.Datastore != "" {
		id := etcdschema.DatastoreID(m.Datastore)
		v.Datastore, v.DatastoreID = m.Datastore, &id
	}
	if m.Version != "" {
		id := etcdschema.VersionID(m.Datastore, m.Version)
		v.Version, v.VersionID = m.Version, &id
	}
	return v
}

// listModules lists the project's modules and those of all, on one page. With a datastore in the query: those that are for it alone.
func (a *API) listModules(r *request) (reply, error) {
	list, err := a.Modules.List(r.ctx, r.Caller)
	if err != nil {
		return reply{}, err
	}
	if of := r.query("datastore"); of != "" {
		list = slices.DeleteFunc(list, func(m etcdschema.Module) bool {
			if strings.EqualFold(of, matchAll) {
				return m.Datastore != ""
			}
			return m.Datastore == "" || m.Datastore != of && etcdschema.DatastoreID(m.Datastore) != of
		})
	}
	views := []moduleView{}
	for _, m := range list {
		views = append(views, viewModule(m))
	}
	return reply{http.StatusOK, listBody("modules", views, nil)}, nil
}

func (a *API) showModule(r *request) (reply, error) {
	m, err := a.Modules.Find(r.ctx, r.Caller, r.param("id"))
	return reply{http.StatusOK, map[string]any{"module": viewModule(m)}}, err
}

func decodeModule(r *request) (modules.Request, error) {
	body, err := decode[struct {
		Module *modules.Request `json:"module"`
	}](r)
	if err == nil && body.Module == nil {
		err = fault.Errorf(fault.BadRequest, "Validation error: 'module' is a required property.")
	}
	if err != nil {
		return modules.Request{}, err
	}
	return *body.Module, nil
}

func (a *API) createModule(r *request) (reply, error) {
	req, err := decodeModule(r)
	if err != nil {
		return reply{}, err
	}
	m, err := a.Modules.New(r.ctx, r.Caller, req)
	return reply{http.StatusOK, map[string]any{"module": viewModule(m)}}, err
}

func (a *API) putModule(r *request) (reply, error) {
	req, err := decodeModule(r)
	if err != nil {
		return reply{}, err
	}
	m, err := a.Modules.Edit(r.ctx, r.Caller, r.param("id"), req)
	return reply{http.StatusOK, map[string]any{"module": viewModule(m)}}, err
}

func (a *API) deleteModule(r *request) (reply, error) {
	return reply{status: http.StatusOK}, a.Modules.Delete(r.ctx, r.Caller, r.param("id"))
}

// moduleCountView says how many instances have a module with the same in it.
type moduleCountView struct {
	ModuleID      string `json:"module_id"`
	ModuleName    string `json:"module_name"`
	ModuleMD5     string `json:"module_md5"`
	Current       bool   `json:"current"` // it is what is in the module now
	InstanceCount int    `json:"instance_count"`
	MinUpdated    string `json:"min_updated_date"`
	MaxUpdated    string `json:"max_updated_date"`
}

// listModuleInstances lists the project's instances that have a module, the oldest first, or counts them.
func (a *API) listModuleInstances(r *request) (reply, error) {
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	m, holders, err := a.Modules.Holders(r.ctx, r.Caller, r.param("id"), isTrue(r.query("include_clustered")))
	if err != nil {
		return reply{}, err
	}
	if isTrue(r.query("count_only")) {
		views := []moduleCountView{}
		for _, n := range modules.Counted(holders, m.ID) {
			views = append(views, moduleCountView{m.ID, m.Name, n.MD5, n.MD5 == m.MD5, n.Instances, control.Stamp(n.First), control.Stamp(n.Last)})
		}
		return reply{http.StatusOK, listBody("instances", views, nil)}, nil
	}
	holders = slices.DeleteFunc(holders, func(in modules.Holder) bool { return in.ID <= marker })
	var next []link
	if len(holders) > limit {
		holders = holders[:limit]
		next = a.nextLink(r, holders[limit-1].ID, limit)
	}
	views := []instanceView{}
	for _, in := range a.Control.Observed(r.ctx, holders...) {
		views = append(views, a.shortView(r, in))
	}
	return reply{http.StatusOK, listBody("instances", views, next)}, nil
}

// appliedView is a module as an instance has it: what it is now, and what has become of it there.
type appliedView struct {
	moduleView
	MD5      string `json:"md5"`      // of what was in it when it was applied
	Outdated bool   `json:"outdated"` // beyond Trove: something else is in it now
	Status   string `json:"status"`   // OK, ERROR; APPLYING and REMOVING while that goes on
	Message  string `json:"message"`
	Created  string `json:"created"` // when it was applied first
	Updated  string `json:"updated"`
}

func appliedViews(all []modules.Applied) map[string]any {
	views := []appliedView{}
	for _, m := range all {
		views = append(views, appliedView{
			viewModule(m.Module), m.Has.MD5, m.Has.MD5 != m.MD5, m.Has.Status, m.Has.Message, control.Stamp(m.Has.Created), control.Stamp(m.Has.Updated),
		})
	}
	return listBody("modules", views, nil)
}

// listApplied lists the modules of an instance as the gateway has them; the guest tells of each change.
func (a *API) listApplied(r *request) (reply, error) {
	if isTrue(r.query("include_contents")) {
		return reply{}, fault.Errorf(fault.Forbidden, "What is in a module is shown to nobody; leave include_contents out.")
	}
	all, err := a.Modules.Of(r.ctx, r.Caller, r.param("id"))
	return reply{http.StatusOK, appliedViews(all)}, err
}

func (a *API) applyModules(r *request) (reply, error) {
	body, err := decode[struct {
		Modules []control.ModuleRef `json:"modules"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	var ids []string
	for _, m := range body.Modules {
		ids = append(ids, m.ID)
	}
	all, err := a.Modules.Apply(r.ctx, r.Caller, r.param("id"), ids)
	return reply{http.StatusOK, appliedViews(all)}, err
}

func (a *API) removeModule(r *request) (reply, error) {
	return reply{status: http.StatusOK}, a.Modules.Remove(r.ctx, r.Caller, r.param("id"), r.param("module"))
}

// reapplyModule begins to apply a module again to the instances that have it.
func (a *API) reapplyModule(r *request) (reply, error) {
	body, err := decode[struct {
		Reapply *modules.ReapplyRequest `json:"reapply"`
	}](r)
	if err == nil && body.Reapply == nil {
		err = fault.Errorf(fault.BadRequest, "Validation error: 'reapply' is a required property; {} reapplies to all that have something else.")
	}
	if err != nil {
		return reply{}, err
	}
	return accepted(a.Modules.Reapply(r.ctx, r.Caller, r.param("id"), *body.Reapply))
}
