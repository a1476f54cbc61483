package mongodb

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

// account is a user as the server tells of it.
type account struct {
	Name   string `bson:"user"`
	Roles  []role `bson:"roles"`
	Custom struct {
		Sealed []byte `bson:"sealed"`
	} `bson:"customData"`
}

type role struct {
	Name     string `bson:"role"`
	Database string `bson:"db"`
}

// rights are the roles of a user on a database that he may use.
func rights(databases ...string) (roles []role) {
	for _, db := range databases {
		roles = append(roles, role{"readWrite", db}, role{"dbAdmin", db})
	}
	return roles
}

// databases are those that the user may use.
func (a account) databases() (names []string) {
	for _, r := range a.Roles {
		if r.Name == "readWrite" {
			names = append(names, r.Database)
		}
	}
	slices.Sort(names)
	return names
}

func (a account) replicas() bool { return slices.Contains(a.Roles, role{replicaRole, adminDatabase}) }

func (a account) user() datastores.User {
	u := datastores.User{Name: a.Name, Host: "%"}
	for _, name := range a.databases() {
		u.Databases = append(u.Databases, datastores.Database{Name: name})
	}
	return u
}

// CreateUser implements [datastores.Users].
func (m *Manager) CreateUser(ctx context.Context, user datastores.User) error {
	return m.users(ctx, func(c *opmsg.Client) error {
		if err := checkDatabases(ctx, c, names(user.Databases)); err != nil {
			return err
		}
		err := makeUser(ctx, c, user.Name, user.Password.Reveal(), rights(names(user.Databases)...))
		if opmsg.HasCode(err, userExists) {
			return datastores.Errorf(datastores.Exists, "user %q exists", user.Name)
		}
		return err
	})
}

func makeUser(ctx context.Context, c *opmsg.Client, name, password string, roles []role) error {
	if roles == nil {
		roles = []role{}
	}
	_, err := c.Call(ctx, adminDatabase, bson.D{
		{Key: "createUser", Value: name}, {Key: "pwd", Value: password}, {Key: "roles", Value: roles},
		{Key: "mechanisms", Value: bson.A{"SCRAM-SHA-256"}}, durable(),
	})
	return err
}

// ListUsers implements [datastores.Users], but for accounts of replicas.
func (m *Manager) ListUsers(ctx context.Context) (all []datastores.User, err error) {
	err = m.users(ctx, func(c *opmsg.Client) error {
		accounts, err := listAccounts(ctx, c, "")
		for _, a := range accounts {
			if !a.replicas() {
				all = append(all, a.user())
			}
		}
		return err
	})
	return all, err
}

// GetUser implements [datastores.Users].
func (m *Manager) GetUser(ctx context.Context, name, host string) (u datastores.User, err error) {
	err = m.users(ctx, func(c *opmsg.Client) error {
		a, err := findAccount(ctx, c, name)
		u = a.user()
		return err
	})
	return u, err
}

// UpdateUser implements [datastores.Users], see changes.go.
func (m *Manager) UpdateUser(ctx context.Context, name, host string, change datastores.UserChange) error {
	return m.users(ctx, func(c *opmsg.Client) error {
		a, err := findAccount(ctx, c, name)
		if err != nil {
			return err
		}
		if change.Name == "" || change.Name == name {
			change.Name = name
		} else if _, err := findAccount(ctx, c, change.Name); err == nil {
			return datastores.Errorf(datastores.Exists, "user %q exists", change.Name)
		}
		if change.Password.IsZero() {
			if change.Name == name {
				return nil
			}
			return datastores.Errorf(datastores.Invalid, "MongoDB cannot rename user %q: give the new password, too, and it is made anew", name)
		}
		return m.remake(ctx, c, remaking{name, change.Name, change.Password.Reveal(), a.Roles})
	})
}

// DeleteUser implements [datastores.Users]. The server ends the user's sessions: their connections are nobody's any more.
func (m *Manager) DeleteUser(ctx context.Context, name, host string) error {
	return m.users(ctx, func(c *opmsg.Client) error {
		if _, err := findAccount(ctx, c, name); err != nil {
			return err
		}
		return dropUser(ctx, c, name)
	})
}

// ListAccess implements [datastores.Access].
func (m *Manager) ListAccess(ctx context.Context, name, host string) ([]datastores.Database, error) {
	u, err := m.GetUser(ctx, name, host)
	return u.Databases, err
}

// GrantAccess implements [datastores.Access].
func (m *Manager) GrantAccess(ctx context.Context, name, host string, databases []string) error {
	return m.users(ctx, func(c *opmsg.Client) error {
		if _, err := findAccount(ctx, c, name); err != nil {
			return err
		}
		if err := checkDatabases(ctx, c, databases); err != nil {
			return err
		}
		_, err := c.Call(ctx, adminDatabase, bson.D{{Key: "grantRolesToUser", Value: name}, {Key: "roles", Value: rights(databases...)}, durable()})
		return err
	})
}

// RevokeAccess implements [datastores.Access].
func (m *Manager) RevokeAccess(ctx context.Context, name, host, database string) error {
	return m.users(ctx, func(c *opmsg.Client) error {
		a, err := findAccount(ctx, c, name)
		if err != nil {
			return err
		}
		if !slices.Contains(a.databases(), database) {
			return datastores.Errorf(datastores.NotFound, "user %q has no access to database %q", name, database)
		}
		return revoke(ctx, c, name, database)
	})
}

func revoke(ctx context.Context, c *opmsg.Client, name, database string) error {
	_, err := c.Call(ctx, adminDatabase, bson.D{{Key: "revokeRolesFromUser", Value: name}, {Key: "roles", Value: rights(database)}, durable()})
	return err
}

// users runs do when a change of a user that was cut is through.
func (m *Manager) users(ctx context.Context, do func(*opmsg.Client) error) error {
	if err := m.finishChange(ctx); err != nil {
		return err
	}
	return m.lead(ctx, do)
}

// listAccounts returns the users in admin, or the one of that name.
func listAccounts(ctx context.Context, c *opmsg.Client, name string) ([]account, error) {
	which := any(1)
	if name != "" {
		which = bson.D{{Key: "user", Value: name}, {Key: "db", Value: adminDatabase}}
	}
	reply, err := c.Call(ctx, adminDatabase, bson.D{{Key: "usersInfo", Value: which}, anywhere()})
	if err != nil {
		return nil, err
	}
	var list struct {
		Users []account `bson:"users"`
	}
	err = bson.Unmarshal(reply, &list)
	return list.Users, err
}

func findAccount(ctx context.Context, c *opmsg.Client, name string) (account, error) {
	list, err := listAccounts(ctx, c, name)
	if err != nil {
		return account{}, err
	}
	if len(list) == 0 || list[0].replicas() {
		return account{}, datastores.Errorf(datastores.NotFound, "there is no user %q", name)
	}
	return list[0], nil
}

// dropUser returns nil when there is none.
func dropUser(ctx context.Context, c *opmsg.Client, name string) error {
	_, err := c.Call(ctx, adminDatabase, bson.D{{Key: "dropUser", Value: name}, durable()})
	if opmsg.HasCode(err, userNotFound) {
		return nil
	}
	return err
}

func checkDatabases(ctx context.Context, c *opmsg.Client, wanted []string) error {
	there, err := listDatabases(ctx, c)
	if err != nil {
		return err
	}
	for _, name := range wanted {
		if !slices.Contains(there, name) || slices.Contains(reservedDatabases(), name) {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", name)
		}
	}
	return nil
}

func names(list []datastores.Database) (all []string) {
	for _, db := range list {
		all = append(all, db.Name)
	}
	return all
}
