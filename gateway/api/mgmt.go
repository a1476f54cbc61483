package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// mgmtView is an instance as admins see it.
type mgmtView struct {
	instanceView
	ServiceStatus   string      `json:"service_status"`
	Deleted         bool        `json:"deleted"`
	DeletedAt       *string     `json:"deleted_at"`
	TaskDescription string      `json:"task_description"`
	RootEnabled     bool        `json:"root_enabled"`
	RootEnabledBy   string      `json:"root_enabled_by,omitempty"`
	GuestStatus     guestStatus `json:"guest_status"`
	Server          *serverView `json:"server"`
}

type guestStatus struct {
	StateDescription string `json:"state_description"`
}

// serverView stands where Trove shows the Nova server: the host.
type serverView struct {
	ID       string `json:"id"`
	Host     string `json:"host"`
	TenantID string `json:"tenant_id"`
}

func (a *API) viewMgmt(r *request, in lifecycle.Member) mgmtView {
	v := mgmtView{
		instanceView: a.detailView(r, in), ServiceStatus: strings.ToUpper(string(in.Service.Service)),
		TaskDescription: "No tasks for the instance.", RootEnabled: in.RootEnabled, RootEnabledBy: in.RootEnabledBy,
		GuestStatus: guestStatus{string(in.Service.Service)},
	}
	if op := in.Doing(); op != nil {
		v.TaskDescription = op.Kind + ": " + op.Step
	}
	if in.Host != "" {
		v.Server = &serverView{ID: in.Host, Host: in.Host, TenantID: in.Project}
	}
	return v
}

func (a *API) mgmtListInstances(r *request) (reply, error) {
	if isTrue(r.query("deleted")) {
		return a.mgmtListDeleted(r)
	}
	from, sets, read := etcdschema.AllInstances(), etcdschema.AllSets(), readAllPage[etcdschema.Instance]
	if p := r.query("project_id"); p != "" {
		from, sets, read = etcdschema.Instances(p), etcdschema.Sets(p), readPage[etcdschema.Instance]
	}
	records, next, err := read(a, r, from)
	if err != nil {
		return reply{}, err
	}
	var list []etcdschema.Instance
	for _, rec := range records {
		list = append(list, rec.Value)
	}
	members, err := a.Control.Members(r.ctx, sets, list)
	if err != nil {
		return reply{}, err
	}
	views := []mgmtView{}
	for _, in := range a.Control.Observed(r.ctx, members...) {
		views = append(views, a.viewMgmt(r, in))
	}
	return reply{http.StatusOK, listBody("instances", views, next)}, nil
}

// mgmtListDeleted lists what was deleted lately.
func (a *API) mgmtListDeleted(r *request) (reply, error) {
	from, read := etcdschema.AllDeleted(), readAllPage[etcdschema.Deleted]
	if p := r.query("project_id"); p != "" {
		from, read = etcdschema.DeletedOf(p), readPage[etcdschema.Deleted]
	}
	records, next, err := read(a, r, from)
	views := []mgmtView{}
	for _, rec := range records {
		views = append(views, a.viewDeleted(r, rec.Value))
	}
	return reply{http.StatusOK, listBody("instances", views, next)}, err
}

// viewDeleted is what admins see of an instance that was deleted.
func (a *API) viewDeleted(r *request, d etcdschema.Deleted) mgmtView {
	v, at := a.viewMgmt(r, lifecycle.Alone(d.Instance)), control.Stamp(d.At)
	v.Deleted, v.DeletedAt, v.Status, v.OperatingStatus = true, &at, "SHUTDOWN", "" // as Trove's
	return v
}

// deletedInstance finds the instance of the path among those that were deleted lately.
func (a *API) deletedInstance(r *request) (mgmtView, error) {
	id := r.param("id")
	project, err := findOwner(a, r, id, etcdschema.AllDeleted())
	if err != nil {
		return mgmtView{}, err
	}
	if project == "" {
		return mgmtView{}, fault.NotFound("Instance", id)
	}
	rec, err := etcdschema.Get(r.ctx, a.Control.Store, etcdschema.DeletedKey(project, id))
	return a.viewDeleted(r, rec.Value), err
}

func (a *API) mgmtShowInstance(r *request) (reply, error) {
	in, err := a.instance(r)
	if fault.IsNotFound(err) && isTrue(r.query("deleted")) {
		view, err := a.deletedInstance(r)
		return reply{http.StatusOK, map[string]any{"instance": view}}, err
	}
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"instance": a.viewMgmt(r, a.Control.Observed(r.ctx, in)[0])}}, nil
}

func (a *API) mgmtPing(r *request) (reply, error) {
	return reply{status: http.StatusNoContent}, a.callGuest(r, datastores.MethodPing, nil, nil)
}

func (a *API) mgmtAct(r *request) (reply, error) {
	action, args, err := oneAction(r)
	if err != nil {
		return reply{}, err
	}
	later, err := inWindow(args)
	switch action {
	case "upgrade":
		switch {
		case err != nil:
			return reply{}, err
		case later.Version == "":
			return reply{}, fault.Errorf(fault.BadRequest, "Validation error: upgrade takes {\"datastore_version\": the name or id of a version, \"when\": \"window\"}.")
		case later.When == "window":
			return accepted(a.Maintenance.Ask(r.ctx, r.Caller, r.param("id"), etcdschema.MaintainUpgrade, later.Version))
		}
		return accepted(a.Control.Upgrade(r.ctx, r.Caller, r.param("id"), later.Version))
	case "reboot":
		if err == nil && later.When == "window" {
			err = a.Maintenance.Ask(r.ctx, r.Caller, r.param("id"), etcdschema.MaintainRestart, "")
			return accepted(err)
		}
		if err != nil {
			return reply{}, err
		}
		return accepted(a.Control.Ask(r.ctx, r.Caller, r.param("id"), lifecycle.AskRestart))
	case "stop":
		return reply{status: http.StatusAccepted}, a.callGuest(r, datastores.MethodStop, nil, nil)
	case "reset-task-status":
		return accepted(a.Control.Ask(r.ctx, r.Caller, r.param("id"), lifecycle.ResetStatus))
	case "migrate":
		to, err := migrateTo(args)
		if err != nil {
			return reply{}, err
		}
		return accepted(a.Control.Migrate(r.ctx, r.Caller, r.param("id"), to))
	case "rebuild":
		return reply{}, fault.Errorf(fault.NotImplemented, "The action %s is not available.", action)
	}
	return reply{}, fault.Errorf(fault.BadRequest, "Action %q is unknown; allowed: stop, reboot, upgrade, migrate, reset-task-status.", action)
}

// later is what an operator asks for, now or in the maintenance window.
type later struct {
	Version string `json:"datastore_version"`
	When    string `json:"when"` // now, window
}

// inWindow reads when something is to be done. What says nothing is to be done now.
func inWindow(args json.RawMessage) (l later, err error) {
	if len(args) > 0 && json.Unmarshal(args, &l) != nil || !slices.Contains([]string{"", "now", "window"}, l.When) {
		err = fault.Errorf(fault.BadRequest, "Validation error: \"when\" must be \"now\" or \"window\".")
	}
	return l, err
}

// migrateTo reads the host that an instance is to be brought to; "": any.
func migrateTo(args json.RawMessage) (string, error) {
	var to struct {
		Host string `json:"host"`
	}
	if err := json.Unmarshal(args, &to); err != nil {
		return "", fault.Errorf(fault.BadRequest, "Validation error: migrate must be like {\"host\": \"the id of a host\"}, or {} for the best that there is.")
	}
	return to.Host, nil
}

// rateView is a row of `limits` as Trove's clients read it.
type rateView struct {
	Verb          string `json:"verb"`
	URI           string `json:"uri"`
	Regex         string `json:"regex"`
	Value         int64  `json:"value"`
	Unit          string `json:"unit"`
	Remaining     int64  `json:"remaining"`
	NextAvailable string `json:"nextAvailable"`
}

func (a *API) limits(r *request) (reply, error) {
	resources, err := a.Control.Quota(r.ctx, r.Project)
	if err != nil {
		return reply{}, err
	}
	absolute := map[string]any{"verb": "ABSOLUTE"}
	for _, res := range resources {
		absolute["max_"+res.Name] = res.Limit
	}
	views := []any{absolute}
	for _, rate := range a.Control.Limits.Rates(r.Project, a.Control.Now()) {
		views = append(views, rateView{
			Verb: rate.Verb, URI: "*", Regex: ".*", Value: rate.Value, Unit: "MINUTE", Remaining: rate.Remaining, NextAvailable: control.Stamp(rate.Next),
		})
	}
	return reply{http.StatusOK, map[string]any{"limits": views}}, nil
}

// showQuotas shows a project's own to everybody in it, and any to admins.
func (a *API) showQuotas(r *request) (reply, error) {
	project := r.param("tenant")
	if project != r.Project && !r.Who.Admin() {
		return reply{}, fault.Errorf(fault.Unauthorized, "Another project's quotas need the role admin.")
	}
	resources, err := a.Control.Quota(r.ctx, project)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"quotas": quotaViews(resources)}}, nil
}

func quotaViews(resources []control.Resource) []map[string]any {
	views := []map[string]any{}
	for _, res := range resources {
		views = append(views, map[string]any{"resource": res.Name, "in_use": res.InUse, "reserved": 0, "limit": res.Limit})
	}
	return views
}

func (a *API) updateQuotas(r *request) (reply, error) {
	body, err := decode[struct {
		Quotas map[string]*int `json:"quotas"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if len(body.Quotas) == 0 {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'quotas' must hold at least one resource with its limit.")
	}
	return reply{http.StatusOK, map[string]any{"quotas": body.Quotas}}, a.Control.SetQuota(r.ctx, r.param("tenant"), body.Quotas)
}
