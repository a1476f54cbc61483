package api

import (
	"encoding/json"
	"net/http"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
)

// userView is a user as clients see it.
type userView struct {
	Name      string     `json:"name"`
	Host      string     `json:"host"`
	Databases []nameView `json:"databases"`
}

func viewUser(u datastores.User) userView {
	return userView{u.Name, u.Host, nameViews(u.Databases)}
}

// user reads the user that the path names, refusing reserved and impossible ones, and what names there may be.
func (a *API) user(r *request) (datastores.UserArgs, control.NameRules, error) {
	rules, err := a.rules(r)
	if err != nil {
		return datastores.UserArgs{}, rules, err
	}
	name, host := control.SplitUser(r.param("user"), rules)
	return datastores.UserArgs{Name: name, Host: host}, rules, control.CheckUser(name, host, rules)
}

// readUsers reads a body of users, and holds each name and host against the rules with check.
func (a *API) readUsers(r *request, check func(name, host string, rules control.NameRules) error) ([]datastores.User, error) {
	body, err := decode[struct {
		Users oneOrMore[control.UserBody] `json:"users"`
	}](r)
	if err != nil {
		return nil, err
	}
	if len(body.Users) == 0 {
		return nil, fault.Errorf(fault.BadRequest, "Validation error: 'users' must hold at least one.")
	}
	rules, err := a.rules(r)
	if err != nil {
		return nil, err
	}
	return control.CheckUsers(body.Users, rules, check)
}

func (a *API) createUsers(r *request) (reply, error) {
	users, err := a.readUsers(r, control.CheckNewUser)
	if err != nil {
		return reply{}, err
	}
	return a.changeUsers(r, datastores.MethodCreateUser, datastores.CreateUserArgs{Users: users})
}

func (a *API) changePasswords(r *request) (reply, error) {
	users, err := a.readUsers(r, control.CheckUser)
	if err != nil {
		return reply{}, err
	}
	return a.changeUsers(r, datastores.MethodChangePasswords, datastores.CreateUserArgs{Users: users})
}

func (a *API) listUsers(r *request) (reply, error) {
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	var page datastores.UserPage
	if err := a.callGuest(r, datastores.MethodListUsers, datastores.ListArgs{Limit: limit, Marker: marker}, &page); err != nil {
		return reply{}, err
	}
	views := []userView{}
	for _, u := range page.Users {
		views = append(views, viewUser(u))
	}
	return reply{http.StatusOK, listBody("users", views, a.nextLink(r, page.Next, limit))}, nil
}

func (a *API) showUser(r *request) (reply, error) {
	args, _, err := a.user(r)
	if err != nil {
		return reply{}, err
	}
	var u datastores.User
	if err := a.callGuest(r, datastores.MethodGetUser, args, &u); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"user": viewUser(u)}}, nil
}

func (a *API) updateUser(r *request) (reply, error) {
	body, err := decode[struct {
		User *struct {
			Name     *string `json:"name"`
			Password *string `json:"password"`
			Host     *string `json:"host"`
		} `json:"user"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.User == nil || body.User.Name == nil && body.User.Password == nil && body.User.Host == nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'user' must hold at least one of name, password, host.")
	}
	args, rules, err := a.user(r)
	if err != nil {
		return reply{}, err
	}
	var change datastores.UserChange
	if u := body.User; u.Password != nil {
		if err := control.CheckPassword(args.Name, *u.Password, rules); err != nil {
			return reply{}, err
		}
		change.Password = datastores.NewSecret(*u.Password).ForSealing()
	}
	if u := body.User; u.Name != nil || u.Host != nil {
		check := control.CheckUser
		if change.Name = args.Name; u.Name != nil {
			change.Name, check = *u.Name, control.CheckNewUser
		}
		if change.Host = args.Host; u.Host != nil {
			change.Host = *u.Host
		}
		if err := check(change.Name, change.Host, rules); err != nil {
			return reply{}, err
		}
	}
	return a.changeUsers(r, datastores.MethodUpdateAttributes, datastores.UpdateUserArgs{UserArgs: args, Change: change})
}

func (a *API) deleteUser(r *request) (reply, error) {
	args, _, err := a.user(r)
	if err != nil {
		return reply{}, err
	}
	return a.changeUsers(r, datastores.MethodDeleteUser, args)
}

func (a *API) listAccess(r *request) (reply, error) {
	args, _, err := a.user(r)
	if err != nil {
		return reply{}, err
	}
	var page datastores.DatabasePage
	if err := a.callGuest(r, datastores.MethodListAccess, args, &page); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"databases": nameViews(page.Databases)}}, nil
}

func (a *API) grantAccess(r *request) (reply, error) {
	body, err := decode[struct {
		Databases []control.DatabaseBody `json:"databases"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if len(body.Databases) == 0 {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'databases' must name at least one.")
	}
	args, rules, err := a.user(r)
	if err != nil {
		return reply{}, err
	}
	names, err := control.DatabaseNames(body.Databases, rules)
	if err != nil {
		return reply{}, err
	}
	access := datastores.AccessArgs{UserArgs: args, Databases: names}
	return reply{status: http.StatusAccepted}, a.callGuest(r, datastores.MethodGrantAccess, access, nil)
}

func (a *API) revokeAccess(r *request) (reply, error) {
	args, rules, err := a.user(r)
	if err != nil {
		return reply{}, err
	}
	if err := control.CheckDatabase(r.param("name"), rules); err != nil {
		return reply{}, err
	}
	access := datastores.AccessArgs{UserArgs: args, Databases: []string{r.param("name")}}
	return reply{status: http.StatusAccepted}, a.callGuest(r, datastores.MethodRevokeAccess, access, nil)
}

// changeUsers asks the guest, and those of the replicas where every server has users of its own. The answer names the replicas
// that could not be told.
func (a *API) changeUsers(r *request, method string, args any) (reply, error) {
	failed, err := a.Control.CallSet(r.ctx, r.Caller, r.param("id"), method, args, nil)
	if err == nil && len(failed) > 0 {
		return reply{http.StatusAccepted, map[string]any{"failed_slaves": failed}}, nil // as for root
	}
	return reply{status: http.StatusAccepted}, err
}

// oneOrMore is a list, or as openstacksdk writes it the only item of one.
type oneOrMore[T any] []T

func (o *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		*o = make([]T, 1)
		return json.Unmarshal(b, &(*o)[0])
	}
	return json.Unmarshal(b, (*[]T)(o))
}

func (a *API) showRoot(r *request) (reply, error) {
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]bool{"rootEnabled": in.RootEnabled}}, nil
}

func (a *API) enableRoot(r *request) (reply, error) { return a.enableRootAt(r, r.param("id")) }

func (a *API) enableRootAt(r *request, id string) (reply, error) {
	body, err := decode[struct {
		Password *string `json:"password"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	name, password, failed, err := a.Control.EnableRoot(r.ctx, r.Caller, id, body.Password)
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
