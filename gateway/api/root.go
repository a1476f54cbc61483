package api

import (
	"net/http"

	"github.com/cofferdb/coffer/gateway/control"
)

func (a *API) showRoot(r *request) (reply, error) {
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]bool{"rootEnabled": in.RootEnabled}}, nil
}

func (a *API) enableRoot(r *request) (reply, error) {
	body, err := decode[struct {
		Password *string `json:"password"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	name, password, failed, err := a.Control.EnableRoot(r.ctx, r.Caller, r.param("id"), body.Password)
	if err != nil {
		return reply{}, err
	}
	answer := map[string]any{"user": map[string]string{"name": name, "password": password}}
	if len(failed) > 0 {
		answer["failed_slaves"] = failed // Trove's word
	}
	return reply{http.StatusOK, answer}, nil
}

func (a *API) disableRoot(r *request) (reply, error) {
	failed, err := a.Control.DisableRoot(r.ctx, r.Caller, r.param("id"))
	if err == nil && len(failed) > 0 {
		return reply{http.StatusOK, map[string]any{"failed_slaves": failed}}, nil
	}
	return reply{status: http.StatusNoContent}, err
}

// mgmtShowRoot tells who enabled root first, and when.
func (a *API) mgmtShowRoot(r *request) (reply, error) {
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	enabled, by := "Never", "Nobody"
	if !in.RootEnabledAt.IsZero() {
		enabled, by = control.Stamp(in.RootEnabledAt), in.RootEnabledBy
	}
	return reply{http.StatusOK, map[string]any{"root_history": map[string]string{"id": in.ID, "enabled": enabled, "user": by}}}, nil
}
