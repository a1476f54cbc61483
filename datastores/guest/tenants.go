package guest

import (
	"cmp"
	"context"
	"slices"

	"github.com/cofferdb/coffer/datastores"
)

func createDatabases(ctx context.Context, c call, m datastores.Databases, args datastores.CreateDatabaseArgs) (none, error) {
	if err := c.refuseDatabases(names(args.Databases)...); err != nil {
		return none{}, err
	}
	rules := datastores.RulesOf(c.manager)
	for _, db := range args.Databases {
		if err := rules.CheckDatabase(db.Name); err != nil {
			return none{}, err
		}
	}
	if err := c.allNew(ctx, m, args.Databases); err != nil {
		return none{}, err
	}
	for _, db := range args.Databases {
		if err := c.forgive(m.CreateDatabase(ctx, db), datastores.Exists); err != nil {
			return none{}, err
		}
	}
	return none{}, nil
}

// allNew refuses databases of which one is there, or two are one to the server, before another is made. A call that was cut has
// made some itself.
func (c call) allNew(ctx context.Context, m datastores.Databases, dbs []datastores.Database) error {
	if len(dbs) < 2 {
		return nil
	}
	wanted, err := folded(ctx, m, names(dbs))
	if err != nil {
		return err
	}
	if err := datastores.CheckDistinct(names(dbs), wanted); err != nil || c.repeated {
		return err
	}
	there, err := m.ListDatabases(ctx)
	if err != nil {
		return err
	}
	for i, name := range wanted {
		if slices.Contains(names(there), name) {
			return datastores.Errorf(datastores.Exists, "database %q exists already", dbs[i].Name)
		}
	}
	return nil
}

// folded are names of databases as the server has them.
func folded(ctx context.Context, m datastores.Databases, names []string) ([]string, error) {
	if f, ok := m.(datastores.FoldsNames); ok {
		return f.FoldDatabases(ctx, names)
	}
	return names, nil
}

func listDatabases(ctx context.Context, c call, m datastores.Databases, args datastores.ListArgs) (datastores.DatabasePage, error) {
	list, err := m.ListDatabases(ctx)
	if err != nil {
		return datastores.DatabasePage{}, err
	}
	part, next := page(c.visible(list), databaseKeys, args)
	return datastores.DatabasePage{Databases: part, Next: next}, nil
}

func deleteDatabase(ctx context.Context, c call, m datastores.Databases, args datastores.DatabaseArgs) (none, error) {
	if err := c.refuseDatabases(args.Name); err != nil {
		return none{}, err
	}
	return none{}, c.forgive(m.DeleteDatabase(ctx, args.Name), datastores.NotFound)
}

func createUsers(ctx context.Context, c call, m datastores.Users, args datastores.CreateUserArgs) (none, error) {
	for _, u := range args.Users {
		if err := c.refuse(u); err != nil {
			return none{}, err
		}
	}
	if err := c.allNewUsers(ctx, m, args.Users); err != nil {
		return none{}, err
	}
	for _, u := range args.Users {
		err := m.CreateUser(ctx, u)
		if c.repeated && isKind(err, datastores.Exists) {
			err = finishUser(ctx, m, u)
		}
		if err != nil {
			return none{}, err
		}
	}
	return none{}, nil
}

// allNewUsers refuses users of which one is there, or is to use a database that is not, before another is made. A call that was cut
// has made some itself.
func (c call) allNewUsers(ctx context.Context, m datastores.Users, users []datastores.User) error {
	if c.repeated || len(users) < 2 {
		return nil
	}
	others, err := m.ListUsers(ctx)
	if err != nil {
		return err
	}
	for _, u := range users {
		if slices.ContainsFunc(others, func(o datastores.User) bool { return userKeys(o)[0] == userKeys(u)[0] }) {
			return datastores.Errorf(datastores.Exists, "user %q exists already", u.Name)
		}
	}
	d, ok := m.(datastores.Databases)
	if !ok {
		return nil
	}
	there, err := d.ListDatabases(ctx)
	if err != nil {
		return err
	}
	for _, u := range users {
		wanted, err := folded(ctx, d, names(u.Databases))
		if err != nil {
			return err
		}
		for i, name := range wanted {
			if !holds(names(there), name) {
				return datastores.Errorf(datastores.NotFound, "there is no database %q for user %q", u.Databases[i].Name, u.Name)
			}
		}
	}
	return nil
}

// refuse says what is wrong with a user that is to be made.
func (c call) refuse(u datastores.User) error {
	if err := c.refuseUsers(u.Name); err != nil {
		return err
	}
	rules := datastores.RulesOf(c.manager)
	if err := rules.CheckUser(u.Name, u.Host); err != nil {
		return err
	}
	if err := rules.CheckPassword(u.Name, u.Password); err != nil {
		return err
	}
	return c.refuseDatabases(names(u.Databases)...)
}

// finishUser does what is left of a CreateUser that was cut between the user and its rights.
func finishUser(ctx context.Context, m datastores.Users, u datastores.User) error {
	if err := m.UpdateUser(ctx, u.Name, u.Host, datastores.UserChange{Password: u.Password}); err != nil {
		return err
	}
	if a, ok := m.(datastores.Access); ok && len(u.Databases) > 0 {
		return a.GrantAccess(ctx, u.Name, u.Host, names(u.Databases))
	}
	return nil
}

func listUsers(ctx context.Context, c call, m datastores.Users, args datastores.ListArgs) (datastores.UserPage, error) {
	list, err := m.ListUsers(ctx)
	if err != nil {
		return datastores.UserPage{}, err
	}
	list = slices.DeleteFunc(list, func(u datastores.User) bool { return holds(c.users, u.Name) })
	part, next := page(list, userKeys, args)
	for i := range part {
		part[i] = c.shown(part[i])
	}
	return datastores.UserPage{Users: part, Next: next}, nil
}

func getUser(ctx context.Context, c call, m datastores.Users, args datastores.UserArgs) (datastores.User, error) {
	if err := c.refuseUsers(args.Name); err != nil {
		return datastores.User{}, err
	}
	u, err := m.GetUser(ctx, args.Name, args.Host)
	return c.shown(u), err
}

// shown is what tenants may see of a user.
func (c call) shown(u datastores.User) datastores.User {
	u.Password = datastores.Secret{}
	u.Databases = c.visible(u.Databases)
	u.Databases, _ = page(u.Databases, databaseKeys, datastores.ListArgs{})
	return u
}

func deleteUser(ctx context.Context, c call, m datastores.Users, args datastores.UserArgs) (none, error) {
	if err := c.refuseUsers(args.Name); err != nil {
		return none{}, err
	}
	return none{}, c.forgive(m.DeleteUser(ctx, args.Name, args.Host), datastores.NotFound)
}

func changePasswords(ctx context.Context, c call, m datastores.Users, args datastores.CreateUserArgs) (none, error) {
	for _, u := range args.Users {
		if err := c.refuseUsers(u.Name); err != nil {
			return none{}, err
		}
		if err := datastores.RulesOf(c.manager).CheckPassword(u.Name, u.Password); err != nil {
			return none{}, err
		}
	}
	for _, u := range args.Users { // one that is missing is found before another is changed
		if _, err := m.GetUser(ctx, u.Name, u.Host); err != nil {
			return none{}, err
		}
	}
	for _, u := range args.Users {
		if err := m.UpdateUser(ctx, u.Name, u.Host, datastores.UserChange{Password: u.Password}); err != nil {
			return none{}, err
		}
	}
	return none{}, nil
}

func updateUser(ctx context.Context, c call, m datastores.Users, args datastores.UpdateUserArgs) (none, error) {
	if err := c.refuseUsers(args.Name, args.Change.Name); err != nil {
		return none{}, err
	}
	if err := c.refuseChange(args.Name, args.Change); err != nil {
		return none{}, err
	}
	err := m.UpdateUser(ctx, args.Name, args.Host, args.Change)
	if c.repeated && isKind(err, datastores.NotFound) {
		// Renamed by the earlier run: what is left is the password.
		name, host := cmp.Or(args.Change.Name, args.Name), cmp.Or(args.Change.Host, args.Host)
		if name != args.Name || host != args.Host {
			err = m.UpdateUser(ctx, name, host, datastores.UserChange{Password: args.Change.Password})
		}
	}
	return none{}, err
}

// refuseChange says what is wrong with what a user is to become.
func (c call) refuseChange(name string, change datastores.UserChange) error {
	rules := datastores.RulesOf(c.manager)
	if change.Name != "" && change.Name != name {
		if err := rules.CheckUser(change.Name, change.Host); err != nil {
			return err
		}
	}
	if change.Host != "" {
		if err := rules.CheckHost(change.Host); err != nil {
			return err
		}
	}
	if change.Password.IsZero() {
		return nil
	}
	return rules.CheckPassword(name, change.Password)
}

func listAccess(ctx context.Context, c call, m datastores.Access, args datastores.UserArgs) (datastores.DatabasePage, error) {
	if err := c.refuseUsers(args.Name); err != nil {
		return datastores.DatabasePage{}, err
	}
	list, err := m.ListAccess(ctx, args.Name, args.Host)
	if err != nil {
		return datastores.DatabasePage{}, err
	}
	part, next := page(c.visible(list), databaseKeys, datastores.ListArgs{})
	return datastores.DatabasePage{Databases: part, Next: next}, nil
}

func grantAccess(ctx context.Context, c call, m datastores.Access, args datastores.AccessArgs) (none, error) {
	if err := c.refuseAccess(args); err != nil {
		return none{}, err
	}
	return none{}, m.GrantAccess(ctx, args.Name, args.Host, args.Databases)
}

func revokeAccess(ctx context.Context, c call, m datastores.Access, args datastores.AccessArgs) (none, error) {
	if err := c.refuseAccess(args); err != nil {
		return none{}, err
	}
	if len(args.Databases) != 1 {
		return none{}, datastores.Errorf(datastores.Invalid, "%d databases to revoke; want one", len(args.Databases))
	}
	return none{}, c.forgive(m.RevokeAccess(ctx, args.Name, args.Host, args.Databases[0]), datastores.NotFound)
}

func (c call) refuseAccess(args datastores.AccessArgs) error {
	if err := c.refuseUsers(args.Name); err != nil {
		return err
	}
	return c.refuseDatabases(args.Databases...)
}

func enableRoot(ctx context.Context, c call, m datastores.Root, args datastores.RootArgs) (datastores.RootReply, error) {
	if err := datastores.RulesOf(c.manager).CheckPassword("root", args.Password); err != nil {
		return datastores.RootReply{}, err
	}
	name, err := m.EnableRoot(ctx, args.Password)
	return datastores.RootReply{Name: name}, err
}

func disableRoot(ctx context.Context, _ call, m datastores.Root, _ none) (none, error) {
	return none{}, m.DisableRoot(ctx)
}
