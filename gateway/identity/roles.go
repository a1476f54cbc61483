package identity

import (
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
)

// roleRefs names roles as tokens do; a role's id is its name.
func roleRefs(names []string) []object {
	refs := make([]object, 0, len(names))
	for _, name := range names {
		refs = append(refs, object{"id": name, "name": name})
	}
	return refs
}

func roleView(r *request, name string) object {
	return object{
		"id": name, "name": name, "domain_id": nil, "description": "", "options": object{},
		"links": object{"self": r.url("/v3/roles/" + name)},
	}
}

func roleViews(r *request, names []string) []object {
	views := []object{}
	for _, name := range names {
		if r.wants(name, false) {
			views = append(views, roleView(r, name))
		}
	}
	return views
}

// role is the role in the path; 404 for others than the three.
func (r *request) role() (string, error) {
	name := r.PathValue("role")
	if !slices.Contains(roles, name) {
		return "", faultf(http.StatusNotFound, "Could not find role: %s.", name)
	}
	return name, nil
}

// listRoles answers GET /v3/roles.
func (s *Service) listRoles(r *request) (reply, error) {
	return ok(r.list("roles", roleViews(r, roles)))
}

// showRole answers GET /v3/roles/{role}.
func (s *Service) showRole(r *request) (reply, error) {
	name, err := r.role()
	if err != nil {
		return reply{}, err
	}
	return ok(object{"role": roleView(r, name)})
}

// granted reads the roles that were granted to the path's user in the path's project.
func (s *Service) granted(r *request) ([]string, error) {
	if _, err := s.projects.get(r.Context(), r.PathValue("project")); err != nil {
		return nil, err
	}
	user, err := s.users.get(r.Context(), r.PathValue("user"))
	return user.Roles[r.PathValue("project")], err
}

// listGrants answers GET /v3/projects/{project}/users/{user}/roles.
func (s *Service) listGrants(r *request) (reply, error) {
	names, err := s.granted(r)
	if err != nil {
		return reply{}, err
	}
	return ok(r.list("roles", roleViews(r, names)))
}

// checkGrant answers HEAD /v3/projects/{project}/users/{user}/roles/{role}.
func (s *Service) checkGrant(r *request) (reply, error) {
	names, err := s.granted(r)
	if err != nil {
		return reply{}, err
	}
	if role := r.PathValue("role"); !slices.Contains(names, role) {
		return reply{}, faultf(http.StatusNotFound, "Could not find role assignment with role: %s.", role)
	}
	return done()
}

// grantRole answers PUT /v3/projects/{project}/users/{user}/roles/{role}; a role that is there already stays.
func (s *Service) grantRole(r *request) (reply, error) {
	role, err := r.role()
	if err != nil {
		return reply{}, err
	}
	project := r.PathValue("project")
	return s.changeRoles(r, "role granted", role, func(snap etcdschema.Snapshot, u *etcdschema.IdentityUser) error {
		if _, err := s.projects.read(snap, project); err != nil {
			return err
		}
		if u.Roles == nil {
			u.Roles = map[string][]string{}
		}
		if !slices.Contains(u.Roles[project], role) {
			u.Roles[project] = append(u.Roles[project], role)
		}
		return nil
	})
}

// withdrawRole answers DELETE /v3/projects/{project}/users/{user}/roles/{role}.
func (s *Service) withdrawRole(r *request) (reply, error) {
	role, err := r.role()
	if err != nil {
		return reply{}, err
	}
	project := r.PathValue("project")
	return s.changeRoles(r, "role withdrawn", role, func(_ etcdschema.Snapshot, u *etcdschema.IdentityUser) error {
		at := slices.Index(u.Roles[project], role)
		if at < 0 {
			return faultf(http.StatusNotFound, "Could not find role assignment with role: %s.", role)
		}
		u.Roles[project] = slices.Delete(u.Roles[project], at, at+1)
		if len(u.Roles[project]) == 0 {
			delete(u.Roles, project)
		}
		return nil
	})
}

func (s *Service) changeRoles(r *request, what, role string, edit func(etcdschema.Snapshot, *etcdschema.IdentityUser) error) (reply, error) {
	user, err := s.users.change(r.Context(), r.PathValue("user"), edit)
	if err != nil {
		return reply{}, err
	}
	s.forget()
	s.log.Info(what, "role", role, "user_id", user.ID, "project_id", r.PathValue("project"), "by", r.who.UserID)
	return done()
}

// listAssignments answers GET /v3/role_assignments, with ?user.id=, ?scope.project.id=, ?role.id= and ?include_names:
// all to an administrator, to others their own.
func (s *Service) listAssignments(r *request) (reply, error) {
	if !r.who.Admin() && r.query.Get("user.id") != r.who.UserID {
		return reply{}, errForbidden
	}
	users, err := s.users.list(r.Context())
	if err != nil {
		return reply{}, err
	}
	projects, err := s.projects.list(r.Context())
	if err != nil {
		return reply{}, err
	}
	is := func(filter, value string) bool { return !r.query.Has(filter) || r.query.Get(filter) == value }
	named := r.query.Has("include_names") && r.query.Get("include_names") != "false" && r.query.Get("include_names") != "0"
	assignments := []object{}
	for _, u := range users {
		for _, p := range projects {
			for _, role := range u.Roles[p.ID] {
				if is("user.id", u.ID) && is("scope.project.id", p.ID) && is("role.id", role) {
					assignments = append(assignments, assignment(u, p, role, named))
				}
			}
		}
	}
	return ok(r.list("role_assignments", assignments))
}

func assignment(u etcdschema.IdentityUser, p etcdschema.IdentityProject, role string, named bool) object {
	whose, where, which := object{"id": u.ID}, object{"id": p.ID}, object{"id": role}
	if named {
		whose["name"], whose["domain"] = u.Name, domain
		where["name"], where["domain"] = p.Name, domain
		which["name"] = role
	}
	return object{"role": which, "user": whose, "scope": object{"project": where}, "links": object{}}
}
