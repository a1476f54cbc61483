package api

import (
	"net/http"

	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
)

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
	made, err := a.Control.Create(r.ctx, r.Caller, *body.Instance)
	if err != nil {
		return reply{}, err
	}
	view := a.detailView(r, made.Instance)
	view.Password, view.UserData = made.Password, made.UserData
	return reply{http.StatusOK, map[string]any{"instance": view}}, nil
}
