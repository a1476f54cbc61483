package api

import (
	"net/http"

	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
)

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
	views := []map[string]any{}
	for _, res := range resources {
		views = append(views, map[string]any{"resource": res.Name, "in_use": res.InUse, "reserved": 0, "limit": res.Limit})
	}
	return reply{http.StatusOK, map[string]any{"quotas": views}}, nil
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
