package api

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
)

// parameterView is a parameter's rule as clients see it. Limits of zero are left out, as in Trove.
type parameterView struct {
	Name            string      `json:"name"`
	VersionID       string      `json:"datastore_version_id"`
	RestartRequired bool        `json:"restart_required"`
	Type            string      `json:"type"`
	Max             json.Number `json:"max,omitempty"`
	Min             json.Number `json:"min,omitempty"`
	Values          []string    `json:"values,omitempty"`      // beyond Trove: the only ones
	Pattern         string      `json:"pattern,omitempty"`     // beyond Trove: what the whole must match
	CreateOnly      bool        `json:"create_only,omitempty"` // beyond Trove: an instance keeps what it was created with

	*deletedView
}

// deletedView is what only admins see; here nothing is kept that was deleted.
type deletedView struct {
	Deleted   bool    `json:"deleted"`
	DeletedAt *string `json:"deleted_at"`
}

// durationPattern is what Trove's clients are told that a duration looks like.
const durationPattern = `([0-9]+(\.[0-9]+)?(ms|s|m|h))+`

func viewParameter(v etcdschema.Version, p datastores.Parameter) parameterView {
	if p.Type == datastores.DurationParameter { // which Trove does not have
		p.Type, p.Min, p.Max, p.Pattern = datastores.StringParameter, "", "", durationPattern
	}
	return parameterView{
		Name: p.Name, VersionID: etcdschema.VersionID(v.Datastore, v.Name), RestartRequired: p.RestartRequired, Type: string(p.Type),
		Max: p.Max, Min: p.Min, Values: p.Values, Pattern: p.Pattern, CreateOnly: p.CreateOnly,
	}
}

func (a *API) listParameters(r *request) (reply, error) {
	return a.parameterList(r, nil)
}

func (a *API) mgmtListParameters(r *request) (reply, error) {
	return a.parameterList(r, &deletedView{})
}

func (a *API) parameterList(r *request, deleted *deletedView) (reply, error) {
	v, err := a.datastoreVersion(r)
	if err != nil {
		return reply{}, err
	}
	views := []parameterView{}
	for _, p := range v.Server.Parameters {
		view := viewParameter(v, p)
		view.deletedView = deleted
		views = append(views, view)
	}
	return reply{http.StatusOK, map[string]any{"configuration-parameters": views}}, nil
}

func (a *API) showParameter(r *request) (reply, error) {
	return a.oneParameter(r, nil)
}

func (a *API) mgmtShowParameter(r *request) (reply, error) {
	return a.oneParameter(r, &deletedView{})
}

func (a *API) oneParameter(r *request, deleted *deletedView) (reply, error) {
	v, err := a.datastoreVersion(r)
	if err != nil {
		return reply{}, err
	}
	for _, p := range v.Server.Parameters {
		if p.Name == r.param("name") {
			view := viewParameter(v, p)
			view.deletedView = deleted
			return reply{http.StatusOK, view}, nil
		}
	}
	return reply{}, noParameter(v, r.param("name"))
}

func noParameter(v etcdschema.Version, name string) error {
	return fault.Errorf(fault.ItemNotFound, "%s %s has no parameter %s.", v.Datastore, v.Name, name)
}

type parameterRequest struct {
	Name            string      `json:"name"`
	RestartRequired control.Bit `json:"restart_required"`
	DataType        string      `json:"data_type"`
	Max             json.Number `json:"max"`
	Min             json.Number `json:"min"`
	MaxSize         json.Number `json:"max_size"`
	MinSize         json.Number `json:"min_size"`
}

// mgmtCreateParameter adds a rule to the definition of a version, mgmtUpdateParameter replaces one. They are the operator's own
// edits of what the manifest says, and it is the server that refuses what it does not have.
func (a *API) mgmtCreateParameter(r *request) (reply, error) { return a.putParameter(r, "") }

func (a *API) mgmtUpdateParameter(r *request) (reply, error) {
	return a.putParameter(r, r.param("name"))
}

func (a *API) putParameter(r *request, name string) (reply, error) {
	body, err := decode[struct {
		Parameter *parameterRequest `json:"configuration-parameter"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Parameter == nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'configuration-parameter' is a required property.")
	}
	req := *body.Parameter
	p := datastores.Parameter{
		Name: req.Name, Type: datastores.ParameterType(req.DataType), RestartRequired: bool(req.RestartRequired),
		Min: firstOf(req.MinSize, req.Min), Max: firstOf(req.MaxSize, req.Max),
	}
	if name != "" {
		p.Name = name
	}
	v, err := a.datastoreVersion(r)
	if err != nil {
		return reply{}, err
	}
	err = a.Control.EditParameters(r.ctx, v, func(all []datastores.Parameter) ([]datastores.Parameter, error) {
		i := slices.IndexFunc(all, func(q datastores.Parameter) bool { return q.Name == p.Name })
		switch {
		case i >= 0 && name == "":
			return nil, fault.Errorf(fault.BadRequest, "%s %s has the parameter %s already.", v.Datastore, v.Name, p.Name)
		case i < 0 && name != "":
			return nil, noParameter(v, name)
		case i >= 0:
			all[i] = p
			return all, nil
		}
		return append(all, p), nil
	})
	return reply{http.StatusOK, viewParameter(v, p)}, err
}

func (a *API) mgmtDeleteParameter(r *request) (reply, error) {
	v, err := a.datastoreVersion(r)
	if err != nil {
		return reply{}, err
	}
	err = a.Control.EditParameters(r.ctx, v, func(all []datastores.Parameter) ([]datastores.Parameter, error) {
		rest := slices.DeleteFunc(all, func(p datastores.Parameter) bool { return p.Name == r.param("name") })
		if len(rest) == len(v.Server.Parameters) {
			return nil, fault.Errorf(fault.BadRequest, "%s %s has no parameter %s.", v.Datastore, v.Name, r.param("name"))
		}
		return rest, nil
	})
	return reply{status: http.StatusNoContent}, err
}

func firstOf(a, b json.Number) json.Number {
	if a != "" {
		return a
	}
	return b
}
