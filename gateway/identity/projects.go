package identity

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// projectBody is what a client may set of a project; nil leaves it.
type projectBody struct {
	Project struct {
		Name        *string `json:"name"`
		Domain      string  `json:"domain_id"`
		Description *string `json:"description"`
		Enabled     *bool   `json:"enabled"`
	} `json:"project"`
}

func (b projectBody) edit(_ etcdschema.Snapshot, p *etcdschema.IdentityProject) error {
	set(&p.Name, b.Project.Name)
	set(&p.Description, b.Project.Description)
	if b.Project.Enabled != nil {
		p.Disabled = !*b.Project.Enabled
	}
	return inDomain(b.Project.Domain)
}

func projectView(r *request, p etcdschema.IdentityProject) object {
	return object{
		"id": p.ID, "name": p.Name, "domain_id": domainID, "parent_id": domainID, "is_domain": false, "enabled": !p.Disabled,
		"description": p.Description, "tags": []string{}, "options": object{}, "links": object{"self": r.url("/v3/projects/" + p.ID)},
	}
}

// listProjects answers GET /v3/projects, with ?name= and ?enabled=: all to an administrator, to others their own.
func (s *Service) listProjects(r *request) (reply, error) {
	if !r.who.Admin() {
		return s.projectsOf(r, r.who.UserID)
	}
	projects, err := s.projects.list(r.Context())
	if err != nil {
		return reply{}, err
	}
	return s.projectList(r, projects)
}

func (s *Service) projectList(r *request, projects []etcdschema.IdentityProject) (reply, error) {
	views := []object{}
	for _, p := range projects {
		if r.wants(p.Name, p.Disabled) {
			views = append(views, projectView(r, p))
		}
	}
	return ok(r.list("projects", views))
}

// listOwnProjects answers GET /v3/auth/projects: those that the token's user may ask a token for.
func (s *Service) listOwnProjects(r *request) (reply, error) { return s.projectsOf(r, r.who.UserID) }

// listUserProjects answers GET /v3/users/{user}/projects.
func (s *Service) listUserProjects(r *request) (reply, error) {
	id := r.PathValue("user")
	if err := r.ownOrAdmin(id); err != nil {
		return reply{}, err
	}
	return s.projectsOf(r, id)
}

func (s *Service) projectsOf(r *request, user string) (reply, error) {
	u, err := s.users.get(r.Context(), user)
	if isMissing(err) && user == r.who.UserID { // a static token's
		return s.projectList(r, []etcdschema.IdentityProject{{ID: r.who.Project, Name: r.who.ProjectName}})
	}
	if err != nil {
		return reply{}, err
	}
	all, err := s.projects.list(r.Context())
	if err != nil {
		return reply{}, err
	}
	return s.projectList(r, slices.DeleteFunc(all, func(p etcdschema.IdentityProject) bool {
		return p.Disabled || len(effective(u.Roles[p.ID])) == 0
	}))
}

// createProject answers POST /v3/projects.
func (s *Service) createProject(r *request) (reply, error) {
	body, err := decode[projectBody](r)
	if err != nil {
		return reply{}, err
	}
	project := etcdschema.IdentityProject{ID: newID(), Created: time.Now().UTC()}
	if err := body.edit(etcdschema.Snapshot{}, &project); err != nil {
		return reply{}, err
	}
	if err := s.projects.create(r.Context(), project); err != nil {
		return reply{}, err
	}
	s.log.Info("project created", "project_id", project.ID, "by", r.who.UserID)
	return created(object{"project": projectView(r, project)})
}

// showProject answers GET /v3/projects/{project}: to an administrator, and to whoever has a role in it.
func (s *Service) showProject(r *request) (reply, error) {
	id := r.PathValue("project")
	if err := s.inProject(r, id); err != nil {
		return reply{}, err
	}
	project, err := s.projects.get(r.Context(), id)
	if isMissing(err) && id == r.who.Project { // a static token's
		project, err = etcdschema.IdentityProject{ID: id, Name: r.who.ProjectName}, nil
	}
	if err != nil {
		return reply{}, err
	}
	return ok(object{"project": projectView(r, project)})
}

// inProject refuses whoever has nothing to do with a project, whether there is one or not.
func (s *Service) inProject(r *request, id string) error {
	if r.who.Admin() || r.who.Project == id {
		return nil
	}
	user, err := s.users.get(r.Context(), r.who.UserID)
	if isMissing(err) || err == nil && len(effective(user.Roles[id])) == 0 {
		return errForbidden
	}
	return err
}

// updateProject answers PATCH /v3/projects/{project}.
func (s *Service) updateProject(r *request) (reply, error) {
	body, err := decode[projectBody](r)
	if err != nil {
		return reply{}, err
	}
	project, err := s.projects.change(r.Context(), r.PathValue("project"), body.edit)
	if err != nil {
		return reply{}, err
	}
	s.forget()
	s.log.Info("project changed", "project_id", project.ID, "by", r.who.UserID)
	return ok(object{"project": projectView(r, project)})
}

// deleteProject answers DELETE /v3/projects/{project}. A project that still has instances or backups stays: nobody could
// reach them any more.
func (s *Service) deleteProject(r *request) (reply, error) {
	id := r.PathValue("project")
	err := s.projects.remove(r.Context(), id, func(snap etcdschema.Snapshot, _ etcdschema.IdentityProject) error {
		usage, err := etcdschema.Read(snap, etcdschema.UsageKey(id))
		if err != nil {
			return err
		}
		if u := usage.Value; u.Instances > 0 || u.Backups > 0 {
			return faultf(http.StatusConflict, "Project %s still has %d instances and %d backups; delete them first.", id, u.Instances, u.Backups)
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	s.forget()
	s.log.Info("project deleted", "project_id", id, "by", r.who.UserID)
	if err := s.withdrawAll(r.Context(), id); err != nil { // roles in a project that is gone mean nothing
		s.log.Warn("cannot tidy up the roles of a deleted project", "project_id", id, "err", err)
	}
	return done()
}

// withdrawAll removes every role in a project.
func (s *Service) withdrawAll(ctx context.Context, project string) error {
	users, err := s.users.list(ctx)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.Roles[project] == nil && u.DefaultProject != project {
			continue
		}
		_, err := s.users.change(ctx, u.ID, func(_ etcdschema.Snapshot, u *etcdschema.IdentityUser) error {
			delete(u.Roles, project)
			if u.DefaultProject == project {
				u.DefaultProject = ""
			}
			return nil
		})
		if err != nil && !isMissing(err) {
			return err
		}
	}
	return nil
}
