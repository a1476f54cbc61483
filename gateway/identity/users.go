package identity

import (
	"net/http"
	"strings"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// The length of a new password, in bytes.
const (
	shortestPassword = 8
	longestPassword  = 1024
)

// userBody is what a client may set of a user; nil leaves it.
type userBody struct {
	User struct {
		Name             *string `json:"name"`
		Password         *string `json:"password"`
		OriginalPassword string  `json:"original_password"` // of a change by the user
		Enabled          *bool   `json:"enabled"`
		Domain           string  `json:"domain_id"`
		DefaultProject   *string `json:"default_project_id"`
		Description      *string `json:"description"`
		Email            *string `json:"email"`
	} `json:"user"`
}

// edit makes a function that changes a user as asked. It hashes the password first: a transaction must not wait for it.
func (s *Service) edit(r *request, b userBody) (func(etcdschema.Snapshot, *etcdschema.IdentityUser) error, error) {
	if err := inDomain(b.User.Domain); err != nil {
		return nil, err
	}
	hash := ""
	if p := b.User.Password; p != nil {
		if len(*p) < shortestPassword || len(*p) > longestPassword {
			return nil, faultf(http.StatusBadRequest, "A password must have %d to %d characters.", shortestPassword, longestPassword)
		}
		var err error
		if hash, err = s.hash(r.Context(), *p); err != nil {
			return nil, err
		}
	}
	return func(snap etcdschema.Snapshot, u *etcdschema.IdentityUser) error {
		if hash != "" {
			u.Password = hash
			u.Generation++
		}
		if enabled := b.User.Enabled; enabled != nil {
			if !*enabled && !u.Disabled {
				u.Generation++
			}
			u.Disabled = !*enabled
		}
		if id := b.User.DefaultProject; id != nil && *id != "" {
			if _, err := s.projects.read(snap, *id); err != nil {
				return err
			}
		}
		set(&u.Name, b.User.Name)
		set(&u.DefaultProject, b.User.DefaultProject)
		set(&u.Description, b.User.Description)
		set(&u.Email, b.User.Email)
		return nil
	}, nil
}

func set(field, value *string) {
	if value != nil {
		*field = *value
	}
}

func inDomain(id string) error {
	if id != "" && id != domainID {
		return faultf(http.StatusNotFound, "Could not find domain: %s.", id)
	}
	return nil
}

func userView(r *request, u etcdschema.IdentityUser) object {
	o := object{
		"id": u.ID, "name": u.Name, "domain_id": domainID, "enabled": !u.Disabled, "description": u.Description,
		"password_expires_at": nil, "options": object{}, "links": object{"self": r.url("/v3/users/" + u.ID)},
	}
	if u.DefaultProject != "" {
		o["default_project_id"] = u.DefaultProject
	}
	if u.Email != "" {
		o["email"] = u.Email
	}
	return o
}

// listUsers answers GET /v3/users, with ?name= and ?enabled=.
func (s *Service) listUsers(r *request) (reply, error) {
	users, err := s.users.list(r.Context())
	if err != nil {
		return reply{}, err
	}
	views := []object{}
	for _, u := range users {
		if r.wants(u.Name, u.Disabled) {
			views = append(views, userView(r, u))
		}
	}
	return ok(r.list("users", views))
}

// wants reports whether a list's filters let an entry through.
func (r *request) wants(name string, disabled bool) bool {
	if want := r.query.Get("name"); want != "" && !sameName(want, name) {
		return false
	}
	if want := r.query.Get("domain_id"); want != "" && want != domainID {
		return false
	}
	switch strings.ToLower(r.query.Get("enabled")) {
	case "true", "1":
		return !disabled
	case "false", "0":
		return disabled
	}
	return true
}

// createUser answers POST /v3/users.
func (s *Service) createUser(r *request) (reply, error) {
	body, err := decode[userBody](r)
	if err != nil {
		return reply{}, err
	}
	edit, err := s.edit(r, body)
	if err != nil {
		return reply{}, err
	}
	id, now := newID(), time.Now().UTC()
	var user etcdschema.IdentityUser
	_, err = s.store.Update(r.Context(), nil, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		user = etcdschema.IdentityUser{ID: id, Created: now}
		if err := edit(snap, &user); err != nil {
			return nil, err
		}
		return s.users.set(snap, nil, user)
	})
	if err != nil {
		return reply{}, err
	}
	s.log.Info("user created", "user_id", user.ID, "by", r.who.UserID)
	return created(object{"user": userView(r, user)})
}

// showUser answers GET /v3/users/{user}.
func (s *Service) showUser(r *request) (reply, error) {
	id := r.PathValue("user")
	if err := r.ownOrAdmin(id); err != nil {
		return reply{}, err
	}
	user, err := s.users.get(r.Context(), id)
	if err != nil {
		return reply{}, err
	}
	return ok(object{"user": userView(r, user)})
}

// updateUser answers PATCH /v3/users/{user}.
func (s *Service) updateUser(r *request) (reply, error) {
	body, err := decode[userBody](r)
	if err != nil {
		return reply{}, err
	}
	edit, err := s.edit(r, body)
	if err != nil {
		return reply{}, err
	}
	user, err := s.users.change(r.Context(), r.PathValue("user"), edit)
	if err != nil {
		return reply{}, err
	}
	s.forget()
	s.log.Info("user changed", "user_id", user.ID, "by", r.who.UserID)
	return ok(object{"user": userView(r, user)})
}

// deleteUser answers DELETE /v3/users/{user}.
func (s *Service) deleteUser(r *request) (reply, error) {
	id := r.PathValue("user")
	err := s.users.remove(r.Context(), id, func(etcdschema.Snapshot, etcdschema.IdentityUser) error { return nil })
	if err != nil {
		return reply{}, err
	}
	s.forget()
	s.log.Info("user deleted", "user_id", id, "by", r.who.UserID)
	return done()
}

// changePassword answers POST /v3/users/{user}/password: users change their own, and prove the old one.
func (s *Service) changePassword(r *request) (reply, error) {
	id := r.PathValue("user")
	body, err := decode[userBody](r)
	if err != nil {
		return reply{}, err
	}
	if id != r.who.UserID {
		return reply{}, faultf(http.StatusForbidden, "This changes one's own password; an administrator sets another's with PATCH.")
	}
	p, err := s.proveByPassword(r, reference{ID: id}, body.User.OriginalPassword)
	if err != nil {
		return reply{}, err
	}
	only := userBody{}
	only.User.Password = body.User.Password
	if only.User.Password == nil {
		return reply{}, faultf(http.StatusBadRequest, "user.password: say the new password.")
	}
	edit, err := s.edit(r, only)
	if err != nil {
		return reply{}, err
	}
	_, err = s.users.change(r.Context(), id, func(snap etcdschema.Snapshot, u *etcdschema.IdentityUser) error {
		if u.Generation != p.generation {
			return ErrUnauthorized
		}
		return edit(snap, u)
	})
	if err != nil {
		return reply{}, err
	}
	s.forget()
	s.log.Info("password changed", "user_id", id)
	return done()
}
