package double

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// privilege is a right to do something with a resource: the cluster, or collections.
type privilege struct {
	cluster    bool
	database   string // anyDatabase: all but local and config; everyDatabase: those too
	collection string // "": all but system's; "*": these too
	actions    []string
}

const (
	anyDatabase   = ""
	everyDatabase = "*"
	allActions    = "anyAction"
)

var (
	readActions    = []string{"find", "listCollections", "listIndexes", "collStats", "dbStats"}
	writeActions   = []string{"insert", "update", "remove", "createCollection", "dropCollection", "createIndex", "dropIndex", "renameCollectionSameDB"}
	adminActions   = []string{"createCollection", "dropCollection", "dropDatabase", "createIndex", "dropIndex", "listCollections", "listIndexes", "collStats", "dbStats", "renameCollectionSameDB"}
	userActions    = []string{"createUser", "dropUser", "grantRole", "revokeRole", "viewUser", "viewRole", "createRole", "dropRole", "changePassword", "changeCustomData"}
	monitorActions = []string{"serverStatus", "replSetGetStatus", "replSetGetConfig", "getCmdLineOpts", "getParameter", "listDatabases", "inprog", "hostInfo"}
	manageActions  = []string{"replSetConfigure", "replSetStateChange", "setParameter", "setFeatureCompatibilityVersion", "rotateCertificates", "shutdown", "fsync", "setUserWriteBlockMode"}
)

// builtin are the privileges of a role that is built in; nil: there is no such role in that database.
func builtin(role, database string) []privilege {
	of := func(actions ...[]string) []privilege {
		return []privilege{{database: database, actions: slices.Concat(actions...)}}
	}
	cluster := func(actions ...string) privilege { return privilege{cluster: true, actions: actions} }
	any := func(actions ...[]string) []privilege {
		return []privilege{{database: anyDatabase, actions: slices.Concat(actions...)}, cluster("listDatabases")}
	}
	switch role {
	case "read":
		return of(readActions)
	case "readWrite":
		return of(readActions, writeActions)
	case "dbAdmin":
		return of(adminActions)
	case "userAdmin":
		return of(userActions)
	case "dbOwner":
		return of(readActions, writeActions, adminActions, userActions)
	}
	if database != "admin" {
		if role == "__system" && database == "local" {
			return []privilege{{cluster: true, actions: []string{allActions}}, {database: everyDatabase, collection: "*", actions: []string{allActions}}}
		}
		return nil
	}
	switch role {
	case "readAnyDatabase":
		return any(readActions)
	case "readWriteAnyDatabase":
		return any(readActions, writeActions)
	case "dbAdminAnyDatabase":
		return any(adminActions)
	case "userAdminAnyDatabase":
		return any(userActions)
	case "clusterMonitor":
		return []privilege{cluster(monitorActions...)}
	case "clusterAdmin":
		return []privilege{cluster(slices.Concat(monitorActions, manageActions)...), {database: anyDatabase, actions: []string{"dropDatabase"}}}
	case "backup":
		return []privilege{{database: everyDatabase, collection: "*", actions: readActions}, cluster("listDatabases")}
	case "restore":
		return []privilege{
			{database: anyDatabase, collection: "*", actions: slices.Concat(writeActions, adminActions, []string{"find"})},
			cluster("listDatabases", "bypassWriteBlockingMode"),
		}
	case "root":
		var all []privilege
		for _, part := range []string{"readWriteAnyDatabase", "dbAdminAnyDatabase", "userAdminAnyDatabase", "clusterAdmin", "backup", "restore"} {
			all = append(all, builtin(part, database)...)
		}
		return all
	}
	return nil
}

// privileges are those of a list of roles as it stands in a user's document, or in a role's.
func (s *store) privileges(roles []bson.D) (all []privilege, missing string) {
	for _, r := range roles {
		name, database := text(r, "role"), text(r, "db")
		if own := builtin(name, database); own != nil {
			all = append(all, own...)
			continue
		}
		made, there := s.role(name, database)
		if !there {
			missing = name + "@" + database
			continue
		}
		for _, p := range documents(made, "privileges") {
			all = append(all, parsePrivilege(p))
		}
		inherited, lost := s.privileges(documents(made, "roles"))
		all, missing = append(all, inherited...), missing+lost
	}
	return all, missing
}

func parsePrivilege(d bson.D) (p privilege) {
	resource := document(d, "resource")
	p.cluster = truth(resource, "cluster")
	p.database, p.collection = text(resource, "db"), text(resource, "collection")
	list, _ := get(d, "actions")
	actions, _ := list.(bson.A)
	for _, a := range actions {
		name, _ := a.(string)
		p.actions = append(p.actions, name)
	}
	return p
}

func (s *store) role(name, database string) (bson.D, bool) {
	c := s.all["admin.system.roles"]
	if c == nil {
		return nil, false
	}
	d, ok := c.byID[string(identity(database+"."+name))]
	return d, ok
}

// allows reports whether privileges hold an action on a namespace; namespace "" is the cluster.
func allows(all []privilege, action, namespace string) bool {
	database, collection, _ := strings.Cut(namespace, ".")
	for _, p := range all {
		if !slices.Contains(p.actions, action) && !slices.Contains(p.actions, allActions) {
			continue
		}
		if p.cluster != (namespace == "") {
			continue
		}
		if p.cluster || p.covers(database, collection) {
			return true
		}
	}
	return false
}

func (p privilege) covers(database, collection string) bool {
	switch p.database {
	case everyDatabase:
	case anyDatabase:
		if database == "local" || database == "config" {
			return false
		}
	default:
		if p.database != database {
			return false
		}
	}
	switch p.collection {
	case "*":
		return true
	case "":
		return !strings.HasPrefix(collection, "system.")
	}
	return p.collection == collection
}
