package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/maintenance"
	"github.com/cofferdb/coffer/gateway/objectives"
)

func (a *API) listInstances(r *request) (reply, error) {
	return a.instancePage(r, etcdschema.Instances(r.Project), a.shortView)
}

func (a *API) detailInstances(r *request) (reply, error) {
	return a.instancePage(r, etcdschema.Instances(r.Project), a.detailView)
}

// instancePage answers one page: chosen by id, which is by age, and shown with the newest first. Members of clusters are left out unless
// the query asks for them, as in Trove.
func (a *API) instancePage(r *request, from etcdschema.Prefix[etcdschema.Instance], view func(*request, lifecycle.Member) instanceView) (reply, error) {
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	clustered := isTrue(r.query("include_clustered"))
	var page []lifecycle.Member
	for next := marker; len(page) < limit; marker = next {
		list, err := etcdschema.List(r.ctx, a.Control.Store, from, etcdschema.Page{Limit: limit - len(page), After: next})
		if err != nil {
			return reply{}, err
		}
		var read []etcdschema.Instance
		for _, rec := range list.Records {
			read = append(read, rec.Value)
		}
		members, err := a.Control.Members(r.ctx, etcdschema.Sets(r.Project), read)
		if err != nil {
			return reply{}, err
		}
		page = append(page, slices.DeleteFunc(members, func(in lifecycle.Member) bool { return in.Clustered() && !clustered })...)
		if next = ""; list.More {
			next = list.Last
		}
		if next == "" {
			marker = ""
			break
		}
	}
	views := []instanceView{}
	for _, in := range a.Control.Observed(r.ctx, page...) {
		views = append(views, view(r, in))
	}
	slices.Reverse(views)
	return reply{http.StatusOK, listBody("instances", views, a.nextLink(r, marker, limit))}, nil
}

// instance reads the instance of the request's path.
func (a *API) instance(r *request) (lifecycle.Member, error) {
	return a.Control.Instance(r.ctx, r.Caller, r.param("id"))
}

// callGuest asks the guest of the instance of the request's path.
func (a *API) callGuest(r *request, method string, args, out any) error {
	return a.Control.CallInstance(r.ctx, r.Caller, r.param("id"), false, method, args, out)
}

func (a *API) showInstance(r *request) (reply, error) {
	if r.echo.QueryParams().Has("as_of") {
		return a.pastInstance(r)
	}
	id := r.param("id")
	var records objectives.Records
	var upkeep maintenance.Known
	refs := slices.Concat(objectives.Refs(r.Project, id), maintenance.Refs(r.Project, id))
	in, err := a.Control.Shown(r.ctx, r.Caller, id, refs, func(s etcdschema.Snapshot) (err error) {
		if records, err = objectives.Read(s, r.Project, id); err == nil {
			upkeep, err = a.Maintenance.Read(s, r.Project, id)
		}
		return err
	})
	if err == nil && maintenance.Subject(in) != id {
		upkeep, err = a.Maintenance.Of(r.ctx, in)
	}
	if err != nil {
		return reply{}, err
	}
	known, err := a.Objectives.Measure(r.ctx, in, records)
	if err != nil {
		return reply{}, err
	}
	view := a.detailView(r, in)
	view.recovered(known)
	view.Maintenance = viewMaintenance(upkeep)
	if view.Connections, err = a.Control.Connections(r.ctx, in); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"instance": view}}, nil
}

// pastInstance shows an instance as it was at as_of: a revision of etcd, or a time with its zone.
func (a *API) pastInstance(r *request) (reply, error) {
	var when control.Moment
	var err error
	asOf := r.query("as_of")
	if when.Revision, err = strconv.ParseInt(asOf, 10, 64); err != nil {
		when.Time, err = time.Parse(time.RFC3339Nano, asOf)
	}
	if err != nil || when.Revision <= 0 && when.Time.IsZero() {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: as_of takes a time such as 2026-01-31T12:00:00Z, or a revision of etcd that an earlier answer has named.")
	}
	if when.Time.After(a.Control.Now()) {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: as_of %s is still to come.", asOf)
	}
	past, err := a.Control.AsOf(r.ctx, r.Caller, r.param("id"), when)
	if err != nil {
		return reply{}, err
	}
	at := map[string]any{"revision": past.Revision, "changed": past.Changed}
	if past.Earlier > 0 {
		at["earlier"] = past.Earlier
	}
	return reply{http.StatusOK, map[string]any{"instance": a.detailView(r, past.Member), "as_of": at}}, nil
}

func (a *API) createInstance(r *request) (reply, error) {
	body, err := decode[struct {
		Instance *control.CreateRequest `json:"instance"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Instance == nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'instance' is a required property.")
	}
	if region := body.Instance.Region; region != "" && region != a.Region {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: instance['region_name'] %q is not served here; this is region %s.", region, a.Region)
	}
	if point := body.Instance.RestorePoint; point != nil && point.Instance != "" {
		if err := a.Recovery.Resolve(r.ctx, r.Caller, point); err != nil {
			return reply{}, err
		}
	}
	if err := a.Modules.Beginning(r.ctx, r.Caller, body.Instance); err != nil {
		return reply{}, err
	}
	made, err := a.Control.Create(r.ctx, r.Caller, *body.Instance)
	if err != nil {
		return reply{}, err
	}
	view := a.detailView(r, made.Instance)
	view.Password, view.UserData = made.Password, made.UserData
	return reply{http.StatusOK, map[string]any{"instance": view}}, nil
}

// deleteInstance deletes at once, or, when the query names a final_backup, after a full backup of that name. Then it answers with that, as
// the call that makes one does; an instance whose final backup fails stays.
func (a *API) deleteInstance(r *request) (reply, error) {
	name := r.query("final_backup")
	if name == "" {
		return accepted(a.Control.Ask(r.ctx, r.Caller, r.param("id"), lifecycle.AskDelete))
	}
	b, err := a.Control.NewBackup(r.ctx, r.Caller, control.BackupRequest{Name: name, Instance: r.param("id"), Last: true})
	return reply{http.StatusAccepted, map[string]any{"backup": viewBackup(b)}}, err
}

// actOnInstance takes exactly one action.
func (a *API) actOnInstance(r *request) (reply, error) {
	action, args, err := oneAction(r)
	if err != nil {
		return reply{}, err
	}
	switch action {
	case "reset_status":
		if len(args) > 0 && string(args) != "{}" && string(args) != "null" {
			var opts struct {
				ForceDelete *bool `json:"force_delete"`
			}
			if err := json.Unmarshal(args, &opts); err != nil || opts.ForceDelete == nil {
				return reply{}, fault.Errorf(fault.BadRequest, "Validation error: reset_status takes nothing, or {\"force_delete\": true}.")
			}
		}
		return accepted(a.Control.Ask(r.ctx, r.Caller, r.param("id"), lifecycle.ResetStatus))
	case "resize":
		return a.resizeInstance(r, args)
	case "follow":
		return a.follow(r, args)
	case "promote_to_replica_source":
		return accepted(a.Control.Promote(r.ctx, r.Caller, r.param("id")))
	case "eject_replica_source":
		return accepted(a.Control.Eject(r.ctx, r.Caller, r.param("id")))
	case "begin_maintenance":
		return accepted(a.Maintenance.Begin(r.ctx, r.Caller, r.param("id")))
	case "cancel_maintenance":
		return accepted(a.Maintenance.Cancel(r.ctx, r.Caller, r.param("id")))
	}
	allowed := []string{"reset_status", "resize", "follow", "promote_to_replica_source", "eject_replica_source", "begin_maintenance", "cancel_maintenance"}
	for _, op := range lifecycle.Operations() {
		switch op.Action {
		case "":
		case action:
			return accepted(a.Control.Operate(r.ctx, r.Caller, r.param("id"), op))
		default:
			allowed = append(allowed, op.Action)
		}
	}
	return reply{}, fault.Errorf(fault.BadRequest, "Action %q is unknown; allowed: %s.", action, strings.Join(allowed, ", "))
}

// follow is Coffer's own action: {"follow": {}}, or {"follow": {"discard": true}}.
func (a *API) follow(r *request, args json.RawMessage) (reply, error) {
	var opts struct {
		Discard bool `json:"discard"`
	}
	if len(args) > 0 && string(args) != "null" {
		if err := strictly(args, &opts); err != nil {
			return reply{}, fault.Errorf(fault.BadRequest, "Validation error: follow takes nothing, or {\"discard\": true}.")
		}
	}
	return accepted(a.Control.Follow(r.ctx, r.Caller, r.param("id"), opts.Discard))
}

// oneAction reads a body that holds a single key.
func oneAction(r *request) (string, json.RawMessage, error) {
	body, err := decode[map[string]json.RawMessage](r)
	if err != nil {
		return "", nil, err
	}
	if len(body) != 1 {
		return "", nil, fault.Errorf(fault.BadRequest, "Validation error: the body must hold exactly one action, not %d.", len(body))
	}
	for action, args := range body {
		return action, args, nil
	}
	panic("unreachable: the body holds one key")
}
