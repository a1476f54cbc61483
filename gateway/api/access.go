package api

import (
	"errors"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/identity"
)

// admit authenticates the request and checks that it may use a route. As in Trove: no or a bad token is 401, another
// project's path is 403 (for admins too), an admin's route is 401 to everybody else, a role that is too low is 403.
func (a *API) admit(r *request, need access) error {
	if need == open {
		return nil
	}
	who, err := a.Identity.Authenticate(r.ctx, r.echo.Request().Header.Get("X-Auth-Token"))
	if err != nil {
		return err
	}
	r.Who = who
	if who.Project != identity.AnyProject && who.Project != r.Project {
		return fault.Errorf(fault.Forbidden, "User with tenant id %s cannot access this resource.", who.Project)
	}
	switch {
	case need == admin && !who.Admin():
		return fault.Errorf(fault.Unauthorized, "This needs the role admin.")
	case need == member && !who.Member():
		return fault.Errorf(fault.Forbidden, "This needs the role member or admin; the token's role only reads.")
	case need == reader && !who.Reader():
		return fault.Errorf(fault.Forbidden, "The token has no role in this project.")
	}
	return nil
}

// admitUnknown answers those who may not use a part of the API the same there whether a path is a route or not.
func (a *API) admitUnknown(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		var fromRouter *echo.HTTPError
		path, versioned := strings.CutPrefix(c.Request().URL.Path, "/v1.0/")
		project, below, ok := strings.Cut(path, "/")
		if !versioned || !ok || below == "" || !errors.As(err, &fromRouter) {
			return err
		}
		need := reader
		if strings.HasPrefix(below, "mgmt/") {
			need = admin
		}
		if refused := a.admit(newRequest(c, project), need); refused != nil {
			return refused
		}
		return err
	}
}

// locate lets an admin's request act in the project that has the instance, backup, schedule, module or configuration group of its path: as in
// Trove, an admin reaches everybody's objects by id, with a path of the admin's own project. What nobody has is looked for in
// the path's project, where it is not found.
func (a *API) locate(r *request, path string) error {
	if !r.Who.Admin() {
		return nil
	}
	var project string
	var err error
	switch at := strings.TrimPrefix(strings.TrimPrefix(path, tenant), "/mgmt"); {
	case strings.HasPrefix(at, "/instances/:id"):
		project, err = a.ownerOfInstance(r)
	case strings.HasPrefix(at, "/clusters/:id"):
		project, err = ownerOf(a, r, etcdschema.SetKey, etcdschema.AllSets())
	case strings.HasPrefix(at, "/backups/:id"):
		project, err = ownerOf(a, r, etcdschema.BackupKey, etcdschema.AllBackups())
	case strings.HasPrefix(at, "/schedules/:id"):
		project, err = ownerOf(a, r, etcdschema.ScheduleKey, etcdschema.AllSchedules())
	case strings.HasPrefix(at, "/configurations/:id"):
		project, err = ownerOf(a, r, etcdschema.ConfigurationKey, etcdschema.AllConfigurations())
	case strings.HasPrefix(at, "/modules/:id"):
		project, err = ownerOf(a, r, etcdschema.ModuleKey, etcdschema.AllModules())
	default:
		return nil
	}
	if err != nil || project == r.Project {
		return err
	}
	a.Control.Log.Info("an admin acts in another project", "request_id", r.Request, "user", r.Who.UserName, "of_project", r.Project,
		"project", project, "method", r.echo.Request().Method, "route", path, "id", r.param("id"))
	r.Project = project
	return nil
}

// ownerOfInstance asks the record of the instance's guest first: most instances have one.
func (a *API) ownerOfInstance(r *request) (string, error) {
	agent, err := etcdschema.Get(r.ctx, a.Control.Store, etcdschema.AgentKey(r.param("id")))
	if err == nil && agent.Value.Project != "" {
		return agent.Value.Project, nil
	}
	return ownerOf(a, r, etcdschema.InstanceKey, etcdschema.AllInstances())
}

// ownerOf is the project that has what the path's id names: the path's own when it has it or nobody does.
func ownerOf[T any](a *API, r *request, keyOf func(project, id string) etcdschema.Key[T], all etcdschema.Prefix[T]) (string, error) {
	id := r.param("id")
	if _, err := etcdschema.Get(r.ctx, a.Control.Store, keyOf(r.Project, id)); !errors.Is(err, etcdschema.ErrNotFound) {
		return r.Project, nil // whatever else there is to say about it, the handler finds
	}
	owner, err := findOwner(a, r, id, all)
	if owner == "" {
		owner = r.Project
	}
	return owner, err
}

// findOwner looks through every project for what an id names; "" when nobody has it.
func findOwner[T any](a *API, r *request, id string, all etcdschema.Prefix[T]) (string, error) {
	for page := (etcdschema.Page{Limit: 1000}); ; {
		list, err := etcdschema.List(r.ctx, a.Control.Store, all, page)
		if err != nil {
			return "", err
		}
		for _, rec := range list.Records {
			if owner, ok := strings.CutSuffix(all.Name(rec.Key), "/"+id); ok {
				return owner, nil
			}
		}
		if !list.More {
			return "", nil
		}
		page.After = list.Last // of a bad record, too: a page of nothing else must not be read for ever
	}
}
