package api

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/gateway/fault"
)

// access says who may use a route.
type access int

const (
	open   access = iota // anybody, without a token
	reader               // any role in the project
	member               // member or admin of the project
	admin                // admin
)

// route is one row of the table. Paths under tenant are the project's own: the token's project must be the path's.
type route struct {
	method string
	path   string
	access access
	handle func(*API, *request) (reply, error)
}

// reply is what a handler answers. A nil body is an empty one.
type reply struct {
	status int
	body   any
}

// accepted is the answer to what goes on after it, unless it could not begin.
func accepted(err error) (reply, error) { return reply{status: http.StatusAccepted}, err }

// written is the body of an answer that the handler has written itself.
type written struct{}

const (
	tenant      = "/v1.0/:project"
	contentPath = tenant + "/backups/:id/content"
)

// routes is everything that clients may ask for, but for the identity service and the agent protocol.
func routes() []route {
	return []route{
		{http.MethodGet, "/", open, (*API).versions},
		{http.MethodGet, "/v1.0", open, (*API).version},
		{http.MethodGet, "/v1.0/", open, (*API).version},

		{http.MethodGet, tenant + "/instances", reader, (*API).listInstances},
		{http.MethodGet, tenant + "/instances/detail", reader, (*API).detailInstances},
		{http.MethodPost, tenant + "/instances", member, (*API).createInstance},
		{http.MethodGet, tenant + "/instances/:id", reader, (*API).showInstance},
		{http.MethodPut, tenant + "/instances/:id", member, (*API).updateInstance},
		{http.MethodPatch, tenant + "/instances/:id", member, (*API).updateInstance},
		{http.MethodDelete, tenant + "/instances/:id", member, (*API).deleteInstance},
		{http.MethodGet, tenant + "/instances/:id/restorable", reader, (*API).showRestorable},
		{http.MethodGet, tenant + "/instances/:id/drills", reader, (*API).listDrills},
		{http.MethodPost, tenant + "/instances/:id/drills", member, (*API).createDrill},
		{http.MethodPost, tenant + "/instances/:id/action", member, (*API).actOnInstance},
		{http.MethodGet, tenant + "/instances/:id/events", reader, (*API).listEvents},
		{http.MethodGet, tenant + "/instances/:id/why", reader, (*API).why},

		{http.MethodGet, tenant + "/instances/:id/backups", reader, (*API).listInstanceBackups},
		{http.MethodGet, tenant + "/instances/:id/configuration", reader, (*API).instanceConfiguration},
		{http.MethodGet, tenant + "/instances/:id/log", reader, (*API).listLogs},
		{http.MethodPost, tenant + "/instances/:id/log", member, (*API).actOnLog},
		{http.MethodGet, tenant + "/instances/:id/log/:name", reader, (*API).showLog},

		{http.MethodGet, tenant + "/instances/:id/modules", reader, (*API).listApplied},
		{http.MethodPost, tenant + "/instances/:id/modules", member, (*API).applyModules},
		{http.MethodDelete, tenant + "/instances/:id/modules/:module", member, (*API).removeModule},

		{http.MethodPost, tenant + "/instances/:id/databases", member, (*API).createDatabases},
		{http.MethodGet, tenant + "/instances/:id/databases", reader, (*API).listDatabases},
		{http.MethodGet, tenant + "/instances/:id/databases/:name", reader, (*API).showDatabase},
		{http.MethodDelete, tenant + "/instances/:id/databases/:name", member, (*API).deleteDatabase},

		{http.MethodPost, tenant + "/instances/:id/users", member, (*API).createUsers},
		{http.MethodPut, tenant + "/instances/:id/users", member, (*API).changePasswords},
		{http.MethodGet, tenant + "/instances/:id/users", reader, (*API).listUsers},
		{http.MethodGet, tenant + "/instances/:id/users/:user", reader, (*API).showUser},
		{http.MethodPost, tenant + "/instances/:id/users/:user", member, (*API).createUsers}, // openstacksdk; the body names the user
		{http.MethodPut, tenant + "/instances/:id/users/:user", member, (*API).updateUser},
		{http.MethodDelete, tenant + "/instances/:id/users/:user", member, (*API).deleteUser},
		{http.MethodGet, tenant + "/instances/:id/users/:user/databases", reader, (*API).listAccess},
		{http.MethodPut, tenant + "/instances/:id/users/:user/databases", member, (*API).grantAccess},
		{http.MethodDelete, tenant + "/instances/:id/users/:user/databases/:name", member, (*API).revokeAccess},

		{http.MethodGet, tenant + "/instances/:id/root", reader, (*API).showRoot},
		{http.MethodPost, tenant + "/instances/:id/root", member, (*API).enableRoot},
		{http.MethodDelete, tenant + "/instances/:id/root", member, (*API).disableRoot},

		{http.MethodGet, tenant + "/instances/:id/ssl", reader, (*API).showSSL},
		{http.MethodPost, tenant + "/instances/:id/ssl", member, (*API).changeSSL},
		{http.MethodGet, tenant + "/instances/:id/ca", reader, (*API).showCA},

		{http.MethodGet, tenant + "/clusters", reader, (*API).listClusters},
		{http.MethodPost, tenant + "/clusters", member, (*API).createCluster},
		{http.MethodGet, tenant + "/clusters/:id", reader, (*API).showCluster},
		{http.MethodPost, tenant + "/clusters/:id", member, (*API).actOnCluster},
		{http.MethodDelete, tenant + "/clusters/:id", member, (*API).deleteCluster},
		{http.MethodGet, tenant + "/clusters/:id/instances/:instance", reader, (*API).showClusterInstance},
		{http.MethodGet, tenant + "/clusters/:id/root", reader, (*API).showClusterRoot},
		{http.MethodPost, tenant + "/clusters/:id/root", member, (*API).enableClusterRoot},

		{http.MethodGet, tenant + "/backups", reader, (*API).listBackups},
		{http.MethodPost, tenant + "/backups", member, (*API).createBackup},
		{http.MethodGet, tenant + "/backups/:id", reader, (*API).showBackup},
		{http.MethodDelete, tenant + "/backups/:id", member, (*API).deleteBackup},
		{http.MethodPost, tenant + "/backups/:id/action", member, (*API).actOnBackup},
		{http.MethodGet, tenant + "/backups/:id/export", member, (*API).showExport},
		{http.MethodGet, contentPath, member, (*API).readContent},
		{http.MethodPut, contentPath, member, (*API).writeContent},
		{http.MethodGet, tenant + "/backups/:id/grants", reader, (*API).listGrants},
		{http.MethodPost, tenant + "/backups/:id/grants", member, (*API).createGrant},
		{http.MethodDelete, tenant + "/backups/:id/grants/:grantee", member, (*API).deleteGrant},
		{http.MethodGet, tenant + "/backup_strategies", reader, (*API).listBackupStrategies},
		{http.MethodPost, tenant + "/backup_strategies", member, (*API).createBackupStrategy},
		{http.MethodDelete, tenant + "/backup_strategies", member, (*API).deleteBackupStrategy},

		{http.MethodGet, tenant + "/maintenance", reader, (*API).showMaintenance},
		{http.MethodPut, tenant + "/maintenance", member, (*API).updateMaintenance},
		{http.MethodGet, tenant + "/schedules", reader, (*API).listSchedules},
		{http.MethodPost, tenant + "/schedules", member, (*API).createSchedule},
		{http.MethodGet, tenant + "/schedules/:id", reader, (*API).showSchedule},
		{http.MethodPatch, tenant + "/schedules/:id", member, (*API).patchSchedule},
		{http.MethodDelete, tenant + "/schedules/:id", member, (*API).deleteSchedule},
		{http.MethodPost, tenant + "/schedules/:id/action", member, (*API).actOnSchedule},

		{http.MethodGet, tenant + "/modules", reader, (*API).listModules},
		{http.MethodPost, tenant + "/modules", member, (*API).createModule},
		{http.MethodGet, tenant + "/modules/:id", reader, (*API).showModule},
		{http.MethodPut, tenant + "/modules/:id", member, (*API).putModule},
		{http.MethodDelete, tenant + "/modules/:id", member, (*API).deleteModule},
		{http.MethodGet, tenant + "/modules/:id/instances", reader, (*API).listModuleInstances},
		{http.MethodPut, tenant + "/modules/:id/instances", member, (*API).reapplyModule},

		{http.MethodGet, tenant + "/configurations", reader, (*API).listConfigurations},
		{http.MethodPost, tenant + "/configurations", member, (*API).createConfiguration},
		{http.MethodGet, tenant + "/configurations/:id", reader, (*API).showConfiguration},
		{http.MethodPatch, tenant + "/configurations/:id", member, (*API).patchConfiguration},
		{http.MethodPut, tenant + "/configurations/:id", member, (*API).putConfiguration},
		{http.MethodDelete, tenant + "/configurations/:id", member, (*API).deleteConfiguration},
		{http.MethodGet, tenant + "/configurations/:id/instances", reader, (*API).listConfigurationInstances},

		{http.MethodGet, tenant + "/datastores", reader, (*API).listDatastores},
		{http.MethodGet, tenant + "/datastores/:datastore", reader, (*API).showDatastore},
		{http.MethodDelete, tenant + "/datastores/:datastore", admin, (*API).deleteDatastore},
		{http.MethodGet, tenant + "/datastores/:datastore/versions", reader, (*API).listVersions},
		{http.MethodGet, tenant + "/datastores/:datastore/versions/:version", reader, (*API).showVersion},
		{http.MethodGet, tenant + "/datastores/versions/:version", reader, (*API).showVersion},
		{http.MethodGet, tenant + "/datastores/:datastore/versions/:version/flavors", reader, (*API).listFlavors},
		{http.MethodGet, tenant + "/datastores/:datastore/versions/:version/volume-types", reader, (*API).listVolumeTypes},
		{http.MethodGet, tenant + "/datastores/:datastore/versions/:version/parameters", reader, (*API).listParameters},
		{http.MethodGet, tenant + "/datastores/:datastore/versions/:version/parameters/:name", reader, (*API).showParameter},
		{http.MethodGet, tenant + "/datastores/versions/:version/parameters", reader, (*API).listParameters},
		{http.MethodGet, tenant + "/datastores/versions/:version/parameters/:name", reader, (*API).showParameter},

		{http.MethodGet, tenant + "/flavors", reader, (*API).listFlavors},
		{http.MethodGet, tenant + "/flavors/:flavor", reader, (*API).showFlavor},
		{http.MethodGet, tenant + "/limits", reader, (*API).limits},

		{http.MethodGet, tenant + "/mgmt/quotas/:tenant", reader, (*API).showQuotas},
		{http.MethodPut, tenant + "/mgmt/quotas/:tenant", admin, (*API).updateQuotas},
		{http.MethodGet, tenant + "/mgmt/instances", admin, (*API).mgmtListInstances},
		{http.MethodGet, tenant + "/mgmt/instances/:id", admin, (*API).mgmtShowInstance},
		{http.MethodGet, tenant + "/mgmt/instances/:id/root", admin, (*API).mgmtShowRoot},
		{http.MethodGet, tenant + "/mgmt/instances/:id/rpc_ping", admin, (*API).mgmtPing},
		{http.MethodPost, tenant + "/mgmt/instances/:id/action", admin, (*API).mgmtAct},
		{http.MethodGet, tenant + "/mgmt/clusters", admin, (*API).mgmtListClusters},
		{http.MethodGet, tenant + "/mgmt/clusters/:id", admin, (*API).mgmtShowCluster},
		{http.MethodPost, tenant + "/mgmt/clusters/:id/action", admin, (*API).mgmtActOnCluster},
		{http.MethodGet, tenant + "/mgmt/datastore-versions", admin, (*API).mgmtListVersions},
		{http.MethodPost, tenant + "/mgmt/datastore-versions", admin, (*API).mgmtCreateVersion},
		{http.MethodGet, tenant + "/mgmt/datastore-versions/:version", admin, (*API).mgmtShowVersion},
		{http.MethodPatch, tenant + "/mgmt/datastore-versions/:version", admin, (*API).mgmtUpdateVersion},
		{http.MethodDelete, tenant + "/mgmt/datastore-versions/:version", admin, (*API).mgmtDeleteVersion},
		{http.MethodGet, tenant + "/mgmt/datastore-problems", admin, (*API).datastoreProblems},
		{http.MethodGet, tenant + "/mgmt/datastores/versions/:version/parameters", admin, (*API).mgmtListParameters},
		{http.MethodPost, tenant + "/mgmt/datastores/versions/:version/parameters", admin, (*API).mgmtCreateParameter},
		{http.MethodGet, tenant + "/mgmt/datastores/versions/:version/parameters/:name", admin, (*API).mgmtShowParameter},
		{http.MethodPut, tenant + "/mgmt/datastores/versions/:version/parameters/:name", admin, (*API).mgmtUpdateParameter},
		{http.MethodDelete, tenant + "/mgmt/datastores/versions/:version/parameters/:name", admin, (*API).mgmtDeleteParameter},
		{http.MethodGet, tenant + "/mgmt/hosts", admin, (*API).listHosts},
		{http.MethodPatch, tenant + "/mgmt/hosts/:host", admin, (*API).updateHost},
		{http.MethodDelete, tenant + "/mgmt/hosts/:host", admin, (*API).deleteHost},
		{http.MethodPost, tenant + "/mgmt/enrolments", admin, (*API).createEnrolment},
		{http.MethodPost, tenant + "/mgmt/agents/:agent/unlock", admin, (*API).unlockAgent},
		{http.MethodGet, tenant + "/mgmt/audit/:agent", admin, (*API).showAudit},

		{http.MethodGet, "/healthz", open, (*API).healthz},
		{http.MethodGet, "/readyz", open, (*API).readyz},
	}
}

// serve is the echo handler of one route: authenticate, find the project, call, write.
func (a *API) serve(rt route) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := newRequest(c, "")
		r.Project = r.param("project")
		if err := a.admit(r, rt.access); err != nil {
			return err
		}
		if err := r.acceptable(); err != nil {
			return err
		}
		if rt.access != open {
			body := c.Request().ContentLength
			if rt.path == contentPath { // which goes into the store, not into etcd
				body = 0
			}
			if err := a.Control.Limits.Pace(r.Project, rt.method, body, strings.HasPrefix(rt.path, tenant+"/mgmt/")); err != nil {
				return err
			}
		}
		if err := a.locate(r, rt.path); err != nil {
			return err
		}
		rep, err := a.answer(rt, r)
		if err != nil {
			return err
		}
		if _, done := rep.body.(written); done {
			return nil
		}
		if rep.body == nil {
			return c.NoContent(rep.status)
		}
		return c.JSON(rep.status, rep.body)
	}
}

// observeRequests gives each request an id, counts it and logs it.
func (a *API) observeRequests(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		id := "req-" + uuid.NewString()
		c.Response().Header().Set(headerRequestID, id)
		if err := survived(next, c); err != nil {
			c.Error(err) // so that the status is known below
		}
		status := c.Response().Status
		route := c.Path()
		if route == "" {
			route = "none"
		}
		took := time.Since(began)
		a.Answered(c.Request().Method, route, status, took)
		a.Control.Log.Info("request", "request_id", id, "method", c.Request().Method, "route", route,
			"project", c.Param("project"), "status", status, "seconds", took.Seconds(), "remote", c.RealIP())
		return nil
	}
}

// survived makes an error of a panic, so that it is answered and logged as every other one. An answer that has begun is cut off instead.
func survived(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		switch p := recover(); {
		case p == nil:
		case c.Response().Committed:
			panic(p)
		default:
			err = fmt.Errorf("a fault of the gateway: %v\n%s", p, debug.Stack())
		}
	}()
	return next(c)
}

// healthz says that the process lives.
func (a *API) healthz(*request) (reply, error) {
	return reply{http.StatusOK, map[string]string{"status": "ok"}}, nil
}

// readyz says whether requests should be sent here.
func (a *API) readyz(*request) (reply, error) {
	if err := a.Ready(); err != nil {
		return reply{}, fault.Errorf(fault.Unavailable, "Not ready: %v.", err)
	}
	return reply{http.StatusOK, map[string]string{"status": "ready"}}, nil
}
