package double

import (
	"crypto/rand"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// asRoles reads roles as commands have them: a name, of the command's database, or a document.
func (r *request) asRoles(field string) (roles bson.A, given bool, err error) {
	v, given := get(r.command, field)
	list, _ := v.(bson.A)
	roles = bson.A{}
	for _, v := range list {
		role, ok := v.(bson.D)
		if name, short := v.(string); short {
			role, ok = bson.D{{Key: "role", Value: name}, {Key: "db", Value: r.database}}, true
		}
		if !ok {
			return nil, given, refuse(badValue, "a role is a name or a document")
		}
		if _, missing := r.mongod.store.privileges([]bson.D{role}); missing != "" {
			return nil, given, refuse(roleNotFound, "Could not find role: "+missing)
		}
		roles = append(roles, role)
	}
	return roles, given, nil
}

func createUser(r *request) (bson.D, error) {
	name, password := text(r.command, "createUser"), text(r.command, "pwd")
	if name == "" || password == "" {
		return nil, refuse(badValue, "User document needs a name and a password")
	}
	if _, there := r.mongod.store.user(name, r.database); there {
		return nil, refuse(userExists, fmt.Sprintf("User %q already exists", name+"@"+r.database))
	}
	roles, given, err := r.asRoles("roles")
	if err != nil {
		return nil, err
	}
	if !given {
		return nil, refuse(badValue, `"createUser" command requires a "roles" array`)
	}
	secret, err := credentials(name, password)
	if err != nil {
		return nil, err
	}
	id := bson.Binary{Subtype: 4, Data: make([]byte, 16)}
	_, _ = rand.Read(id.Data)
	d := bson.D{
		{Key: "_id", Value: r.database + "." + name}, {Key: "userId", Value: id}, {Key: "user", Value: name}, {Key: "db", Value: r.database},
		{Key: "credentials", Value: secret}, {Key: "roles", Value: roles},
	}
	if custom := document(r.command, "customData"); custom != nil {
		d = append(d, bson.E{Key: "customData", Value: custom})
	}
	return nil, r.log(record{Op: "i", NS: usersNamespace, Object: d})
}

// existing is the user that a command names.
func (r *request) existing(name string) (bson.D, error) {
	d, there := r.mongod.store.user(name, r.database)
	if !there {
		return nil, refuse(userNotFound, fmt.Sprintf("User '%s@%s' not found", name, r.database))
	}
	return d, nil
}

func updateUser(r *request) (bson.D, error) {
	name := text(r.command, "updateUser")
	d, err := r.existing(name)
	if err != nil {
		return nil, err
	}
	if password := text(r.command, "pwd"); password != "" {
		secret, err := credentials(name, password)
		if err != nil {
			return nil, err
		}
		d = withValue(d, "credentials", secret)
	}
	roles, given, err := r.asRoles("roles")
	if err != nil {
		return nil, err
	}
	if given {
		d = withValue(d, "roles", roles)
	}
	if custom := document(r.command, "customData"); custom != nil {
		d = withValue(d, "customData", custom)
	}
	return nil, r.log(record{Op: "u", NS: usersNamespace, Object: d})
}

func dropUser(r *request) (bson.D, error) {
	d, err := r.existing(text(r.command, "dropUser"))
	if err != nil {
		return nil, err
	}
	id, _ := get(d, "_id")
	return nil, r.log(record{Op: "d", NS: usersNamespace, Which: bson.D{{Key: "_id", Value: id}}})
}

func grantRoles(r *request) (bson.D, error) {
	return r.changeRoles("grantRolesToUser", func(has, roles bson.A) bson.A {
		for _, role := range roles {
			if !holdsRole(has, role) {
				has = append(has, role)
			}
		}
		return has
	})
}

func revokeRoles(r *request) (bson.D, error) {
	return r.changeRoles("revokeRolesFromUser", func(has, roles bson.A) bson.A {
		return slices.DeleteFunc(has, func(role any) bool { return holdsRole(roles, role) })
	})
}

func holdsRole(list bson.A, role any) bool {
	return slices.ContainsFunc(list, func(other any) bool { return fmt.Sprint(other) == fmt.Sprint(role) })
}

func (r *request) changeRoles(command string, change func(has, roles bson.A) bson.A) (bson.D, error) {
	d, err := r.existing(text(r.command, command))
	if err != nil {
		return nil, err
	}
	roles, _, err := r.asRoles("roles")
	if err != nil {
		return nil, err
	}
	v, _ := get(d, "roles")
	has, _ := v.(bson.A)
	return nil, r.log(record{Op: "u", NS: usersNamespace, Object: withValue(d, "roles", change(slices.Clone(has), roles))})
}

// usersInfo answers for all users of the database, for one by name, or by document. Whoever may not see others sees himself.
func usersInfo(r *request) (bson.D, error) {
	which, _ := get(r.command, "usersInfo")
	name, _ := which.(string)
	database := r.database
	if d, ok := which.(bson.D); ok {
		name = text(d, "user")
		if text(d, "db") != "" {
			database = text(d, "db")
		}
	}
	own := slices.ContainsFunc(r.session.logins, func(l login) bool { return l.user == name && l.database == database })
	if !own && !allows(r.privileges, "viewUser", database+".$cmd") {
		return nil, r.unauthorized()
	}
	users := bson.A{}
	for _, d := range r.mongod.store.documents(usersNamespace) {
		if name == "" && text(d, "db") == database || text(d, "user") == name && text(d, "db") == database {
			users = append(users, unset(d, "credentials"))
		}
	}
	return bson.D{{Key: "users", Value: users}}, nil
}

func createRole(r *request) (bson.D, error) {
	name := text(r.command, "createRole")
	if _, there := r.mongod.store.role(name, r.database); there || builtin(name, r.database) != nil {
		return nil, refuse(roleExists, fmt.Sprintf("Role %q already exists", name+"@"+r.database))
	}
	return r.saveRole(name)
}

func updateRole(r *request) (bson.D, error) {
	name := text(r.command, "updateRole")
	if _, there := r.mongod.store.role(name, r.database); !there {
		return nil, refuse(roleNotFound, fmt.Sprintf("Role %s@%s not found", name, r.database))
	}
	return r.saveRole(name)
}

func (r *request) saveRole(name string) (bson.D, error) {
	roles, given, err := r.asRoles("roles")
	privileges, ok := get(r.command, "privileges")
	if err != nil {
		return nil, err
	}
	if !given || !ok {
		return nil, refuse(badValue, "a role has privileges and roles")
	}
	return nil, r.log(record{Op: "u", NS: rolesNamespace, Object: bson.D{
		{Key: "_id", Value: r.database + "." + name}, {Key: "role", Value: name}, {Key: "db", Value: r.database},
		{Key: "privileges", Value: privileges}, {Key: "roles", Value: roles},
	}})
}
