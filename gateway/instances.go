package gateway

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

func (g *Gateway) listInstances(r *request) (reply, error) {
	return g.instancePage(r, etcdschema.Instances(r.project), g.shortView)
}

func (g *Gateway) detailInstances(r *request) (reply, error) {
	return g.instancePage(r, etcdschema.Instances(r.project), g.detailView)
}

// instancePage answers one page: chosen by id, which is by age, and shown with the newest first.
func (g *Gateway) instancePage(r *request, from etcdschema.Prefix[etcdschema.Instance], view func(*request, etcdschema.Instance) instanceView) (reply, error) {
	records, next, err := readPage(g, r, from)
	if err != nil {
		return reply{}, err
	}
	var list []etcdschema.Instance
	for _, rec := range records {
		if in, err := g.fresh(r.ctx, rec.Value); err == nil { // else it was deleted since the list was read
			list = append(list, in)
		}
	}
	views := []instanceView{}
	for _, in := range g.observed(r.ctx, list...) {
		views = append(views, view(r, in))
	}
	slices.Reverse(views)
	return reply{http.StatusOK, listBody("instances", views, next)}, nil
}

// instance reads the instance of the request's path.
func (g *Gateway) instance(r *request) (etcdschema.Instance, error) {
	rec, err := etcdschema.Get(r.ctx, g.store, etcdschema.InstanceKey(r.project, r.param("id")))
	if err != nil {
		return rec.Value, instanceError(err, r.param("id"))
	}
	return g.fresh(r.ctx, rec.Value)
}

func (g *Gateway) showInstance(r *request) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"instance": g.detailView(r, g.observed(r.ctx, in)[0])}}, nil
}

// deleteInstance deletes an instance that nobody follows.
func (g *Gateway) deleteInstance(r *request) (reply, error) {
	event := lifecycle.Event{Type: lifecycle.AskDelete, Request: r.id()}
	_, err := g.transition(r.ctx, r.project, r.param("id"), event, func(p *plan) error {
		if in := p.before; len(in.Replicas) > 0 {
			return faultf(forbidden, "Instance %s has the replicas %s; delete or detach them first.", in.ID, strings.Join(in.Replicas, ", "))
		}
		return nil
	})
	return reply{status: http.StatusAccepted}, instanceError(err, r.param("id"))
}

// event lets something happen to the instance of the path, and answers 202.
func (g *Gateway) event(r *request, what lifecycle.EventType) (reply, error) {
	_, err := g.transition(r.ctx, r.project, r.param("id"), lifecycle.Event{Type: what, Request: r.id()})
	return reply{status: http.StatusAccepted}, instanceError(err, r.param("id"))
}

// operate begins an operation that takes no arguments, if the instance's manager can do it.
func (g *Gateway) operate(r *request, op lifecycle.Operation) (reply, error) {
	event := lifecycle.Event{Type: op.Ask(), Request: r.id()}
	_, err := g.transition(r.ctx, r.project, r.param("id"), event, func(p *plan) error { return supports(p.before, method(op.Method)) })
	return reply{status: http.StatusAccepted}, instanceError(err, r.param("id"))
}

// actOnInstance takes exactly one action.
func (g *Gateway) actOnInstance(r *request) (reply, error) {
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
				return reply{}, faultf(badRequest, "Validation error: reset_status takes nothing, or {\"force_delete\": true}.")
			}
		}
		return g.event(r, lifecycle.ResetStatus)
	case "resize":
		return g.resizeInstance(r, args)
	case "promote_to_replica_source":
		return g.promoteReplica(r)
	case "eject_replica_source":
		return g.ejectSource(r)
	}
	allowed := []string{"reset_status", "resize", "promote_to_replica_source", "eject_replica_source"}
	for _, op := range lifecycle.Operations() {
		switch op.Action {
		case "":
		case action:
			return g.operate(r, op)
		default:
			allowed = append(allowed, op.Action)
		}
	}
	return reply{}, faultf(badRequest, "Action %q is unknown; allowed: %s.", action, strings.Join(allowed, ", "))
}

// oneAction reads a body that holds a single key.
func oneAction(r *request) (string, json.RawMessage, error) {
	body, err := decode[map[string]json.RawMessage](r)
	if err != nil {
		return "", nil, err
	}
	if len(body) != 1 {
		return "", nil, faultf(badRequest, "Validation error: the body must hold exactly one action, not %d.", len(body))
	}
	for action, args := range body {
		return action, args, nil
	}
	panic("unreachable: the body holds one key")
}

// instanceError names the instance where a key or a record did not exist.
func instanceError(err error, id string) error {
	if err == nil {
		return nil
	}
	if isNotFound(err) {
		return notFound("Instance", id)
	}
	return err
}

func isNotFound(err error) bool { return err != nil && faultOf(err, "").kind == itemNotFound }

// nonEmpty is Trove's non_empty_string: 1 to 255 characters, at least one ASCII letter or digit. Control characters are refused:
// names are read at terminals.
func nonEmpty(s string) bool {
	return utf8.RuneCountInString(s) <= maxName && !strings.ContainsFunc(s, unicode.IsControl) && strings.ContainsFunc(s, func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	})
}
