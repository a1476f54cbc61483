// Package api is Trove's REST API: it reads requests, asks package control, and writes what clients see. Nothing else of the gateway knows
// echo.
package api

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/gateway/audit"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/drills"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/maintenance"
	"github.com/cofferdb/coffer/gateway/modules"
	"github.com/cofferdb/coffer/gateway/objectives"
	"github.com/cofferdb/coffer/gateway/pitr"
	"github.com/cofferdb/coffer/gateway/schedules"
	"github.com/cofferdb/coffer/gateway/transfer"
	"github.com/cofferdb/coffer/gateway/verify"
)

// Config is what the API is made of. All must be set.
type Config struct {
	Control     *control.Plane
	Schedules   *schedules.Schedules
	Recovery    *pitr.Recovery
	Verifier    *verify.Verifier
	Drills      *drills.Drills
	Objectives  *objectives.Objectives
	Maintenance *maintenance.Maintenance
	Modules     *modules.Modules
	Auditor     *audit.Auditor
	Porter      *transfer.Porter
	Identity    identity.Authenticator
	Region      string
	TrustProxy  bool         // believes X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-For
	Ready       func() error // why no request should be sent here; nil: they may
	// Answered hears of each request how it was answered.
	Answered func(method, route string, status int, took time.Duration)
}

// API answers clients. Make it with [New].
type API struct{ Config }

// New returns the API.
func New(cfg Config) *API { return &API{cfg} }

// Handler answers every request of the API, also those for what there is not.
func (a *API) Handler() http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = a.writeError
	e.IPExtractor = RemoteIP(a.TrustProxy)
	e.Use(a.observeRequests, a.admitUnknown)
	for _, rt := range routes() {
		e.Add(rt.method, rt.path, a.serve(rt))
	}
	return e
}

// Route tells who may use a row of the route table: open, reader, member or admin.
type Route struct{ Method, Path, Access string }

// Routes is the route table.
func Routes() []Route {
	names := map[access]string{open: "open", reader: "reader", member: "member", admin: "admin"}
	var all []Route
	for _, r := range routes() {
		all = append(all, Route{r.method, r.path, names[r.access]})
	}
	return all
}
