package gateway

import (
	"net/http"

	"github.com/cofferdb/coffer/datastores"
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
func (g *Gateway) user(r *request) (datastores.UserArgs, nameRules, error) {
	rules, err := g.rules(r)
	if err != nil {
		return datastores.UserArgs{}, rules, err
	}
	name, host := splitUser(r.param("user"), rules)
	return datastores.UserArgs{Name: name, Host: host}, rules, checkUser(name, host, rules)
}

// readUsers reads a body of users, and holds each name and host against the rules with check.
func (g *Gateway) readUsers(r *request, check func(name, host string, rules nameRules) error) ([]datastores.User, error) {
	body, err := decode[struct {
		Users oneOrMore[userBody] `json:"users"`
	}](r)
	if err != nil {
		return nil, err
	}
	if len(body.Users) == 0 {
		return nil, faultf(badRequest, "Validation error: 'users' must hold at least one.")
	}
	rules, err := g.rules(r)
	if err != nil {
		return nil, err
	}
	return checkUsers(body.Users, rules, check)
}

func (g *Gateway) createUsers(r *request) (reply, error) {
	users, err := g.readUsers(r, checkNewUser)
	if err != nil {
		return reply{}, err
	}
	return g.changeUsers(r, datastores.MethodCreateUser, datastores.CreateUserArgs{Users: users})
}

func (g *Gateway) changePasswords(r *request) (reply, error) {
	users, err := g.readUsers(r, checkUser)
	if err != nil {
		return reply{}, err
	}
	return g.changeUsers(r, datastores.MethodChangePasswords, datastores.CreateUserArgs{Users: users})
}

func (g *Gateway) listUsers(r *request) (reply, error) {
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	var page datastores.UserPage
	if err := g.callGuest(r, datastores.MethodListUsers, datastores.ListArgs{Limit: limit, Marker: marker}, &page); err != nil {
		return reply{}, err
	}
	views := []userView{}
	for _, u := range page.Users {
		views = append(views, viewUser(u))
	}
	return reply{http.StatusOK, listBody("users", views, g.nextLink(r, page.Next, limit))}, nil
}

func (g *Gateway) showUser(r *request) (reply, error) {
	args, _, err := g.user(r)
	if err != nil {
		return reply{}, err
	}
	var u datastores.User
	if err := g.callGuest(r, datastores.MethodGetUser, args, &u); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"user": viewUser(u)}}, nil
}

func (g *Gateway) updateUser(r *request) (reply, error) {
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
		return reply{}, faultf(badRequest, "Validation error: 'user' must hold at least one of name, password, host.")
	}
	args, rules, err := g.user(r)
	if err != nil {
		return reply{}, err
	}
	var change datastores.UserChange
	if u := body.User; u.Password != nil {
		if err := checkPassword(args.Name, *u.Password, rules); err != nil {
			return reply{}, err
		}
		change.Password = datastores.NewSecret(*u.Password).ForSealing()
	}
	if u := body.User; u.Name != nil || u.Host != nil {
		check := checkUser
		if change.Name = args.Name; u.Name != nil {
			change.Name, check = *u.Name, checkNewUser
		}
		if change.Host = args.Host; u.Host != nil {
			change.Host = *u.Host
		}
		if err := check(change.Name, change.Host, rules); err != nil {
			return reply{}, err
		}
	}
	return g.changeUsers(r, datastores.MethodUpdateAttributes, datastores.UpdateUserArgs{UserArgs: args, Change: change})
}

func (g *Gateway) deleteUser(r *request) (reply, error) {
	args, _, err := g.user(r)
	if err != nil {
		return reply{}, err
	}
	return g.changeUsers(r, datastores.MethodDeleteUser, args)
}

func (g *Gateway) listAccess(r *request) (reply, error) {
	args, _, err := g.user(r)
	if err != nil {
		return reply{}, err
	}
	var page datastores.DatabasePage
	if err := g.callGuest(r, datastores.MethodListAccess, args, &page); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"databases": nameViews(page.Databases)}}, nil
}

func (g *Gateway) grantAccess(r *request) (reply, error) {
	body, err := decode[struct {
		Databases []databaseBody `json:"databases"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if len(body.Databases) == 0 {
		return reply{}, faultf(badRequest, "Validation error: 'databases' must name at least one.")
	}
	args, rules, err := g.user(r)
	if err != nil {
		return reply{}, err
	}
	names, err := databaseNames(body.Databases, rules)
	if err != nil {
		return reply{}, err
	}
	access := datastores.AccessArgs{UserArgs: args, Databases: names}
	return reply{status: http.StatusAccepted}, g.callGuest(r, datastores.MethodGrantAccess, access, nil)
}

func (g *Gateway) revokeAccess(r *request) (reply, error) {
	args, rules, err := g.user(r)
	if err != nil {
		return reply{}, err
	}
	if err := checkDatabase(r.param("name"), rules); err != nil {
		return reply{}, err
	}
	access := datastores.AccessArgs{UserArgs: args, Databases: []string{r.param("name")}}
	return reply{status: http.StatusAccepted}, g.callGuest(r, datastores.MethodRevokeAccess, access, nil)
}

// changeUsers asks the guest, and those of the replicas where every server has users of its own. The answer names the replicas
// that could not be told.
func (g *Gateway) changeUsers(r *request, method string, args any) (reply, error) {
	failed, err := g.callSet(r, method, args, nil)
	if err == nil && len(failed) > 0 {
		return reply{http.StatusAccepted, map[string]any{"failed_slaves": failed}}, nil // as for root
	}
	return reply{status: http.StatusAccepted}, err
}
