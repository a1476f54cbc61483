package gateway

import (
	"net/http"

	"github.com/labstack/echo/v4"
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
	handle func(*Gateway, *request) (reply, error)
}

// reply is what a handler answers. A nil body is an empty one.
type reply struct {
	status int
	body   any
}

// written is the body of an answer that the handler has written itself.
type written struct{}

const tenant = "/v1.0/:project"

// routes is everything that clients may ask for, but for the identity service and the agent protocol.
func routes() []route {
	return []route{
		{http.MethodGet, "/", open, (*Gateway).versions},
		{http.MethodGet, "/v1.0", open, (*Gateway).version},
		{http.MethodGet, "/v1.0/", open, (*Gateway).version},

		{http.MethodGet, tenant + "/instances", reader, (*Gateway).listInstances},
		{http.MethodGet, tenant + "/instances/detail", reader, (*Gateway).detailInstances},
		{http.MethodPost, tenant + "/instances", member, (*Gateway).createInstance},
		{http.MethodGet, tenant + "/instances/:id", reader, (*Gateway).showInstance},
		{http.MethodPut, tenant + "/instances/:id", member, (*Gateway).updateInstance},
		{http.MethodPatch, tenant + "/instances/:id", member, (*Gateway).updateInstance},
		{http.MethodDelete, tenant + "/instances/:id", member, (*Gateway).deleteInstance},
		{http.MethodPost, tenant + "/instances/:id/action", member, (*Gateway).actOnInstance},
		{http.MethodGet, tenant + "/instances/:id/events", reader, (*Gateway).listEvents},
		{http.MethodGet, tenant + "/instances/:id/why", reader, (*Gateway).why},

		{http.MethodGet, tenant + "/instances/:id/backups", reader, (*Gateway).listInstanceBackups},
		{http.MethodGet, tenant + "/instances/:id/configuration", reader, (*Gateway).instanceConfiguration},
		{http.MethodGet, tenant + "/instances/:id/log", reader, (*Gateway).listLogs},
		{http.MethodPost, tenant + "/instances/:id/log", member, (*Gateway).actOnLog},
		{http.MethodGet, tenant + "/instances/:id/log/:name", reader, (*Gateway).showLog},

		{http.MethodPost, tenant + "/instances/:id/databases", member, (*Gateway).createDatabases},
		{http.MethodGet, tenant + "/instances/:id/databases", reader, (*Gateway).listDatabases},
		{http.MethodGet, tenant + "/instances/:id/databases/:name", reader, (*Gateway).showDatabase},
		{http.MethodDelete, tenant + "/instances/:id/databases/:name", member, (*Gateway).deleteDatabase},

		{http.MethodPost, tenant + "/instances/:id/users", member, (*Gateway).createUsers},
		{http.MethodPut, tenant + "/instances/:id/users", member, (*Gateway).changePasswords},
		{http.MethodGet, tenant + "/instances/:id/users", reader, (*Gateway).listUsers},
		{http.MethodGet, tenant + "/instances/:id/users/:user", reader, (*Gateway).showUser},
		{http.MethodPost, tenant + "/instances/:id/users/:user", member, (*Gateway).createUsers}, // openstacksdk; the body names the user
		{http.MethodPut, tenant + "/instances/:id/users/:user", member, (*Gateway).updateUser},
		{http.MethodDelete, tenant + "/instances/:id/users/:user", member, (*Gateway).deleteUser},
		{http.MethodGet, tenant + "/instances/:id/users/:user/databases", reader, (*Gateway).listAccess},
		{http.MethodPut, tenant + "/instances/:id/users/:user/databases", member, (*Gateway).grantAccess},
		{http.MethodDelete, tenant + "/instances/:id/users/:user/databases/:name", member, (*Gateway).revokeAccess},

		{http.MethodGet, tenant + "/instances/:id/root", reader, (*Gateway).showRoot},
		{http.MethodPost, tenant + "/instances/:id/root", member, (*Gateway).enableRoot},
		{http.MethodDelete, tenant + "/instances/:id/root", member, (*Gateway).disableRoot},

		{http.MethodGet, tenant + "/instances/:id/ssl", reader, (*Gateway).showSSL},
		{http.MethodPost, tenant + "/instances/:id/ssl", member, (*Gateway).changeSSL},
		{http.MethodGet, tenant + "/instances/:id/ca", reader, (*Gateway).showCA},

		{http.MethodGet, tenant + "/backups", reader, (*Gateway).listBackups},
		{http.MethodPost, tenant + "/backups", member, (*Gateway).createBackup},
		{http.MethodGet, tenant + "/backups/:id", reader, (*Gateway).showBackup},
		{http.MethodDelete, tenant + "/backups/:id", member, (*Gateway).deleteBackup},
		{http.MethodPost, tenant + "/backups/:id/action", member, (*Gateway).actOnBackup},
		{http.MethodGet, tenant + "/backup_strategies", reader, (*Gateway).listBackupStrategies},
		{http.MethodPost, tenant + "/backup_strategies", member, (*Gateway).createBackupStrategy},
		{http.MethodDelete, tenant + "/backup_strategies", member, (*Gateway).deleteBackupStrategy},

		{http.MethodGet, tenant + "/configurations", reader, (*Gateway).listConfigurations},
		{http.MethodPost, tenant + "/configurations", member, (*Gateway).createConfiguration},
		{http.MethodGet, tenant + "/configurations/:id", reader, (*Gateway).showConfiguration},
		{http.MethodPatch, tenant + "/configurations/:id", member, (*Gateway).patchConfiguration},
		{http.MethodPut, tenant + "/configurations/:id", member, (*Gateway).putConfiguration},
		{http.MethodDelete, tenant + "/configurations/:id", member, (*Gateway).deleteConfiguration},
		{http.MethodGet, tenant + "/configurations/:id/instances", reader, (*Gateway).listConfigurationInstances},

		{http.MethodGet, tenant + "/datastores", reader, (*Gateway).listDatastores},
		{http.MethodGet, tenant + "/datastores/:datastore", reader, (*Gateway).showDatastore},
		{http.MethodGet, tenant + "/datastores/:datastore/versions", reader, (*Gateway).listVersions},
		{http.MethodGet, tenant + "/datastores/:datastore/versions/:version", reader, (*Gateway).showVersion},
		{http.MethodGet, tenant + "/datastores/versions/:version", reader, (*Gateway).showVersion},
		{http.MethodGet, tenant + "/datastores/:datastore/versions/:version/flavors", reader, (*Gateway).listFlavors},
		{http.MethodGet, tenant + "/datastores/:datastore/versions/:version/parameters", reader, (*Gateway).listParameters},
		{http.MethodGet, tenant + "/datastores/:datastore/versions/:version/parameters/:name", reader, (*Gateway).showParameter},
		{http.MethodGet, tenant + "/datastores/versions/:version/parameters", reader, (*Gateway).listParameters},
		{http.MethodGet, tenant + "/datastores/versions/:version/parameters/:name", reader, (*Gateway).showParameter},

		{http.MethodGet, tenant + "/flavors", reader, (*Gateway).listFlavors},
		{http.MethodGet, tenant + "/flavors/:flavor", reader, (*Gateway).showFlavor},
		{http.MethodGet, tenant + "/limits", reader, (*Gateway).limits},

		{http.MethodGet, tenant + "/mgmt/quotas/:tenant", reader, (*Gateway).showQuotas},
		{http.MethodPut, tenant + "/mgmt/quotas/:tenant", admin, (*Gateway).updateQuotas},
		{http.MethodGet, tenant + "/mgmt/instances", admin, (*Gateway).mgmtListInstances},
		{http.MethodGet, tenant + "/mgmt/instances/:id", admin, (*Gateway).mgmtShowInstance},
		{http.MethodGet, tenant + "/mgmt/instances/:id/root", admin, (*Gateway).mgmtShowRoot},
		{http.MethodGet, tenant + "/mgmt/instances/:id/rpc_ping", admin, (*Gateway).mgmtPing},
		{http.MethodPost, tenant + "/mgmt/instances/:id/action", admin, (*Gateway).mgmtAct},
		{http.MethodGet, tenant + "/mgmt/datastore-problems", admin, (*Gateway).datastoreProblems},
		{http.MethodGet, tenant + "/mgmt/datastores/versions/:version/parameters", admin, (*Gateway).mgmtListParameters},
		{http.MethodPost, tenant + "/mgmt/datastores/versions/:version/parameters", admin, (*Gateway).mgmtCreateParameter},
		{http.MethodGet, tenant + "/mgmt/datastores/versions/:version/parameters/:name", admin, (*Gateway).mgmtShowParameter},
		{http.MethodPut, tenant + "/mgmt/datastores/versions/:version/parameters/:name", admin, (*Gateway).mgmtUpdateParameter},
		{http.MethodDelete, tenant + "/mgmt/datastores/versions/:version/parameters/:name", admin, (*Gateway).mgmtDeleteParameter},
		{http.MethodGet, tenant + "/mgmt/hosts", admin, (*Gateway).listHosts},
		{http.MethodPatch, tenant + "/mgmt/hosts/:host", admin, (*Gateway).updateHost},
		{http.MethodDelete, tenant + "/mgmt/hosts/:host", admin, (*Gateway).deleteHost},
		{http.MethodPost, tenant + "/mgmt/enrolments", admin, (*Gateway).createEnrolment},
		{http.MethodPost, tenant + "/mgmt/agents/:agent/unlock", admin, (*Gateway).unlockAgent},

		{http.MethodGet, "/healthz", open, (*Gateway).healthz},
		{http.MethodGet, "/readyz", open, (*Gateway).readyz},
	}
}

// serve is the echo handler of one route: authenticate, find the project, call, write.
func (g *Gateway) serve(rt route) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := &request{echo: c, ctx: c.Request().Context()}
		r.project = r.param("project")
		if err := g.admit(r, rt.access); err != nil {
			return err
		}
		if err := r.acceptable(); err != nil {
			return err
		}
		if rt.access != open {
			if err := g.Limits.pace(r, rt.path); err != nil {
				return err
			}
		}
		if err := g.locate(r, rt.path); err != nil {
			return err
		}
		rep, err := rt.handle(g, r)
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
