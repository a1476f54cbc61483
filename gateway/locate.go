package gateway

import (
	"errors"
	"strings"

	"github.com/cofferdb/coffer/etcdschema"
)

// locate lets an admin's request act in the project that has the instance, backup or configuration group of its path: as in
// Trove, an admin reaches everybody's objects by id, with a path of the admin's own project. What nobody has is looked for in
// the path's project, where it is not found.
func (g *Gateway) locate(r *request, path string) error {
	if !r.who.Admin() {
		return nil
	}
	var project string
	var err error
	switch at := strings.TrimPrefix(strings.TrimPrefix(path, tenant), "/mgmt"); {
	case strings.HasPrefix(at, "/instances/:id"):
		project, err = g.ownerOfInstance(r)
	case strings.HasPrefix(at, "/backups/:id"):
		project, err = ownerOf(g, r, etcdschema.BackupKey, etcdschema.AllBackups())
	case strings.HasPrefix(at, "/configurations/:id"):
		project, err = ownerOf(g, r, etcdschema.ConfigurationKey, etcdschema.AllConfigurations())
	default:
		return nil
	}
	if err != nil || project == r.project {
		return err
	}
	g.log.Info("an admin acts in another project", "request_id", r.id(), "user", r.who.UserName, "of_project", r.project,
		"project", project, "method", r.echo.Request().Method, "route", path, "id", r.param("id"))
	r.project = project
	return nil
}

// ownerOfInstance asks the record of the instance's guest first: most instances have one.
func (g *Gateway) ownerOfInstance(r *request) (string, error) {
	agent, err := etcdschema.Get(r.ctx, g.store, etcdschema.AgentKey(r.param("id")))
	if err == nil && agent.Value.Project != "" {
		return agent.Value.Project, nil
	}
	return ownerOf(g, r, etcdschema.InstanceKey, etcdschema.AllInstances())
}

// ownerOf is the project that has what the path's id names: the path's own when it has it or nobody does.
func ownerOf[T any](g *Gateway, r *request, keyOf func(project, id string) etcdschema.Key[T], all etcdschema.Prefix[T]) (string, error) {
	id := r.param("id")
	if _, err := etcdschema.Get(r.ctx, g.store, keyOf(r.project, id)); !errors.Is(err, etcdschema.ErrNotFound) {
		return r.project, nil // whatever else there is to say about it, the handler finds
	}
	owner, err := findOwner(g, r, id, all)
	if owner == "" {
		owner = r.project
	}
	return owner, err
}

// findOwner looks through every project for what an id names; "" when nobody has it.
func findOwner[T any](g *Gateway, r *request, id string, all etcdschema.Prefix[T]) (string, error) {
	for page := (etcdschema.Page{Limit: 1000}); ; {
		list, err := etcdschema.List(r.ctx, g.store, all, page)
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
