package double

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// command is one that the server knows. Without an action everybody who has logged in may use it, and with open everybody.
type command struct {
	action        string
	cluster       bool // the action is one on the cluster
	wholeDatabase bool // the action is one on the database, not on the collection that the command names
	open          bool
	writes        bool
	anyMember     bool // of a replica set, also one without data
	run           func(*request) (bson.D, error)
}

func nothing(*request) (bson.D, error) { return nil, nil }

func commands() map[string]command {
	on := func(action string, run func(*request) (bson.D, error)) command {
		return command{action: action, run: run}
	}
	write := func(action string, run func(*request) (bson.D, error)) command {
		return command{action: action, writes: true, run: run}
	}
	user := func(action string, run func(*request) (bson.D, error)) command {
		return command{action: action, wholeDatabase: true, writes: true, run: run}
	}
	cluster := func(action string, run func(*request) (bson.D, error)) command {
		return command{action: action, cluster: true, anyMember: true, run: run}
	}
	open := func(run func(*request) (bson.D, error)) command {
		return command{open: true, anyMember: true, run: run}
	}
	anybody := command{anyMember: true, run: nothing}
	return map[string]command{
		"hello": open(hello), "isMaster": open(hello), "ismaster": open(hello), "saslStart": open(saslStart), "saslContinue": open(saslContinue),
		"ping": open(nothing), "buildInfo": open(buildInfo), "buildinfo": open(buildInfo), "logout": open(nothing), "endSessions": open(nothing),
		"connectionStatus": open(connectionStatus), "killCursors": anybody, "usersInfo": {run: usersInfo},

		"find": on("find", find), "count": on("find", count), "listIndexes": on("listIndexes", listIndexes),
		"getMore": {run: func(*request) (bson.D, error) {
			return nil, refuse(cursorNotFound, "the double's cursors have one batch")
		}},
		"listCollections": {action: "listCollections", wholeDatabase: true, run: listCollections}, "dbStats": {action: "dbStats", wholeDatabase: true, run: dbStats},
		"listDatabases": {run: listDatabases},
		"insert":        write("insert", insert), "update": write("update", update), "delete": write("remove", remove), "findAndModify": write("update", findAndModify),
		"create": write("createCollection", create), "drop": write("dropCollection", drop), "createIndexes": write("createIndex", createIndexes),
		"renameCollection": write("renameCollectionSameDB", rename),
		"dropDatabase":     {action: "dropDatabase", wholeDatabase: true, writes: true, run: dropDatabase},

		"createUser": user("createUser", createUser), "updateUser": user("changePassword", updateUser), "dropUser": user("dropUser", dropUser),
		"grantRolesToUser": user("grantRole", grantRoles), "revokeRolesFromUser": user("revokeRole", revokeRoles),
		"createRole": user("createRole", createRole), "updateRole": user("grantRole", updateRole),

		"serverStatus": cluster("serverStatus", serverStatus), "getCmdLineOpts": cluster("getCmdLineOpts", getCmdLineOpts),
		"getParameter": cluster("getParameter", getParameter), "rotateCertificates": cluster("rotateCertificates", rotateCertificates),
		"setFeatureCompatibilityVersion": {action: "setFeatureCompatibilityVersion", cluster: true, writes: true, run: setVersion},
		"setUserWriteBlockMode":          {action: "setUserWriteBlockMode", cluster: true, writes: true, run: setWriteBlock},
		"replSetInitiate":                cluster("replSetConfigure", initiate), "replSetReconfig": cluster("replSetConfigure", reconfigure),
		"replSetGetConfig": cluster("replSetGetConfig", getConfig), "replSetGetStatus": cluster("replSetGetStatus", getStatus),
		"replSetStepDown": cluster("replSetStateChange", stepDown), "replSetStepUp": cluster("replSetStateChange", stepUp),
		"replSetHeartbeat": cluster("internal", heartbeat), "replSetRequestVotes": cluster("internal", requestVotes), "replSetDoubleTail": cluster("internal", tail), "replSetDoubleCopy": cluster("internal", copyAll),
	}
}

func hello(r *request) (bson.D, error) {
	reply := bson.D{
		{Key: "helloOk", Value: true}, {Key: "maxBsonObjectSize", Value: int32(16 << 20)}, {Key: "maxMessageSizeBytes", Value: int32(48000000)},
		{Key: "maxWriteBatchSize", Value: int32(100000)}, {Key: "localTime", Value: bson.NewDateTimeFromTime(time.Now())},
		{Key: "minWireVersion", Value: int32(0)}, {Key: "maxWireVersion", Value: map[string]int32{"7.0": 21, "8.0": 25}[r.mongod.version]}, {Key: "readOnly", Value: false},
	}
	if name := text(r.command, "saslSupportedMechs"); name != "" {
		reply = append(reply, bson.E{Key: "saslSupportedMechs", Value: bson.A{mechanism}})
	}
	primary := r.mongod.set == nil || r.mongod.set.state == statePrimary
	reply = append(reply, bson.E{Key: "isWritablePrimary", Value: primary}, bson.E{Key: "ismaster", Value: primary})
	if s := r.mongod.set; s != nil {
		reply = append(reply, s.greeting(r.mongod)...)
	}
	return reply, nil
}

func buildInfo(r *request) (bson.D, error) {
	return bson.D{{Key: "version", Value: r.mongod.version + ".0"}, {Key: "modules", Value: bson.A{}}}, nil
}

func connectionStatus(r *request) (bson.D, error) {
	users := bson.A{}
	for _, l := range r.session.logins {
		users = append(users, bson.D{{Key: "user", Value: l.user}, {Key: "db", Value: l.database}})
	}
	return bson.D{{Key: "authInfo", Value: bson.D{{Key: "authenticatedUsers", Value: users}}}}, nil
}

func serverStatus(r *request) (bson.D, error) {
	most := r.mongod.config.number("net.maxIncomingConnections", 65536)
	return bson.D{
		{Key: "host", Value: r.mongod.self}, {Key: "version", Value: r.mongod.version + ".0"}, {Key: "process", Value: "mongod"},
		{Key: "uptime", Value: time.Since(r.mongod.started).Seconds()},
		{Key: "connections", Value: bson.D{{Key: "current", Value: int32(len(r.mongod.connections))}, {Key: "available", Value: int32(most - len(r.mongod.connections))}}},
	}, nil
}

func getCmdLineOpts(r *request) (bson.D, error) {
	return bson.D{{Key: "argv", Value: bson.A{"mongod"}}, {Key: "parsed", Value: r.mongod.config.nested()}}, nil
}

func getParameter(r *request) (bson.D, error) {
	if !truth(r.command, "featureCompatibilityVersion") {
		return nil, refuse(kind{72, "InvalidOptions"}, "no option found to get")
	}
	return bson.D{{Key: "featureCompatibilityVersion", Value: bson.D{{Key: "version", Value: r.mongod.store.version}}}}, nil
}

func rotateCertificates(r *request) (bson.D, error) { return nil, r.mongod.readCertificate() }

func setVersion(r *request) (bson.D, error) {
	wanted := text(r.command, "setFeatureCompatibilityVersion")
	if !truth(r.command, "confirm") {
		return nil, refuse(kind{7369100, "Location7369100"}, "Once you have upgraded you will not be able to downgrade: re-run this command with 'confirm: true'")
	}
	before := map[string]string{"7.0": "6.0", "8.0": "7.0"}[r.mongod.version]
	if wanted != r.mongod.version && wanted != before {
		return nil, refuse(badValue, "Invalid feature compatibility version value, expected "+r.mongod.version+" or "+before)
	}
	return nil, r.log(record{Op: "u", NS: versionNamespace, Object: bson.D{{Key: "_id", Value: "featureCompatibilityVersion"}, {Key: "version", Value: wanted}}})
}

func setWriteBlock(r *request) (bson.D, error) {
	if r.mongod.set == nil {
		return nil, refuse(kind{20, "IllegalOperation"}, "setUserWriteBlockMode cannot be run on standalones")
	}
	global, given := get(r.command, "global")
	on, ok := global.(bool)
	if !given || !ok {
		return nil, refuse(failedToParse, "global is required")
	}
	id := bson.D{{Key: "_id", Value: ""}}
	if on {
		return nil, r.log(record{Op: "u", NS: blockNamespace, Object: append(id, bson.E{Key: "globalUserWritesBlocked", Value: true})})
	}
	if !r.mongod.blocked() {
		return nil, nil
	}
	return nil, r.log(record{Op: "d", NS: blockNamespace, Which: id})
}

// cursor is the reply with all documents at once, as far as the client asked for so many.
func cursor(namespace string, batch []bson.D) bson.D {
	first := bson.A{}
	for _, d := range batch {
		first = append(first, d)
	}
	return bson.D{{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: namespace}, {Key: "firstBatch", Value: first}}}}
}

func find(r *request) (bson.D, error) {
	namespace := r.database + "." + text(r.command, "find")
	all, err := r.mongod.store.find(namespace, document(r.command, "filter"))
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Backward(document(r.command, "sort")) {
		direction, _ := number(key.Value)
		if key.Key == "$natural" {
			if direction < 0 {
				slices.Reverse(all)
			}
			continue
		}
		slices.SortStableFunc(all, func(a, b bson.D) int {
			x, _ := get(a, key.Key)
			y, _ := get(b, key.Key)
			order, _ := compare(x, y)
			return order * int(direction)
		})
	}
	all = all[min(len(all), int(integer(r.command, "skip"))):]
	if limit := int(integer(r.command, "limit")); limit > 0 {
		all = all[:min(limit, len(all))]
	}
	return cursor(namespace, all), nil
}

func count(r *request) (bson.D, error) {
	all, err := r.mongod.store.find(r.database+"."+text(r.command, "count"), document(r.command, "query"))
	return bson.D{{Key: "n", Value: int32(len(all))}}, err
}

func listIndexes(r *request) (bson.D, error) {
	namespace := r.database + "." + text(r.command, "listIndexes")
	c := r.mongod.store.all[namespace]
	if c == nil {
		return nil, refuse(namespaceNotFound, "ns does not exist: "+namespace)
	}
	all := []bson.D{{{Key: "v", Value: int32(2)}, {Key: "key", Value: bson.D{{Key: "_id", Value: int32(1)}}}, {Key: "name", Value: "_id_"}}}
	return cursor(namespace, append(all, c.indexes...)), nil
}

func listCollections(r *request) (bson.D, error) {
	var all []bson.D
	for _, namespace := range r.mongod.store.namespaces(r.database) {
		_, name, _ := strings.Cut(namespace, ".")
		d := bson.D{{Key: "name", Value: name}, {Key: "type", Value: "collection"}, {Key: "options", Value: bson.D{}}}
		if ok, err := matches(d, document(r.command, "filter")); ok && err == nil {
			all = append(all, d)
		}
	}
	return cursor(r.database+".$cmd.listCollections", all), nil
}

func (s *store) namespaces(database string) (all []string) {
	for ns := range s.all {
		if strings.HasPrefix(ns, database+".") {
			all = append(all, ns)
		}
	}
	slices.Sort(all)
	return all
}

func dbStats(r *request) (bson.D, error) {
	size := 0
	for _, ns := range r.mongod.store.namespaces(r.database) {
		for _, d := range r.mongod.store.documents(ns) {
			b, _ := bson.Marshal(d)
			size += len(b)
		}
	}
	return bson.D{{Key: "db", Value: r.database}, {Key: "dataSize", Value: float64(size)}, {Key: "storageSize", Value: float64(size)}}, nil
}

// listDatabases tells whoever may list all of them everything, and others what they have a right on.
func listDatabases(r *request) (bson.D, error) {
	every := allows(r.privileges, "listDatabases", "")
	all := bson.A{}
	var names []string
	for name := range r.mongod.store.databases() {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if every || allows(r.privileges, "find", name+".x") {
			all = append(all, bson.D{{Key: "name", Value: name}, {Key: "sizeOnDisk", Value: int64(4096)}, {Key: "empty", Value: false}})
		}
	}
	if len(all) == 0 && !every && len(r.session.logins) == 0 {
		return nil, r.unauthorized()
	}
	return bson.D{{Key: "databases", Value: all}, {Key: "totalSize", Value: int64(0)}}, nil
}

// checkName refuses names as the documents say: empty ones, too long ones, and those with letters that differ in case alone.
func (r *request) checkName(collection string) error {
	switch {
	case r.database == "" || len(r.database) > 63 || strings.ContainsAny(r.database, "/\\. \"$\x00"):
		return refuse(invalidNamespace, fmt.Sprintf("Invalid database name: '%s'", r.database))
	case collection == "" || strings.ContainsAny(collection, "$\x00") || strings.HasPrefix(collection, "."):
		return refuse(invalidNamespace, fmt.Sprintf("Invalid namespace specified '%s.%s'", r.database, collection))
	}
	for other := range r.mongod.store.databases() {
		if other != r.database && strings.EqualFold(other, r.database) {
			return refuse(databaseDiffersCase, fmt.Sprintf("db already exists with different case already have: [%s] trying to create [%s]", other, r.database))
		}
	}
	return nil
}
