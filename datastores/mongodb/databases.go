package mongodb

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

// firstCollection is empty, and there so that a new database is: MongoDB has databases only while they have collections. A tenant may drop it.
const firstCollection = "coffer"

// The codes of MongoDB's errors that mean something here.
const (
	userNotFound            = 11
	alreadyInitialized      = 23
	roleNotFound            = 31
	invalidReplicaSetConfig = 93
	notYetInitialized       = 94
	configIncompatible      = 103
	configInProgress        = 109
	configNotCommitted      = 308
	databaseDiffersInCase   = 13297
	invalidNamespace        = 73
	namespaceExists         = 48
	roleExists              = 51002
	userExists              = 51003
)

// Names implements [datastores.Names]. A database's name may be a file's (storage.directoryPerDB). Passwords are what SASLprep leaves as it is.
func (m *Manager) Names() datastores.NameRules {
	return datastores.NameRules{Database: `[A-Za-z0-9_-]{1,63}`, User: `[!-~]([ -~]{0,126}[!-~])?`, Host: `%`, Password: `[ -~]{1,255}`}
}

// CreateDatabase implements [datastores.Databases].
func (m *Manager) CreateDatabase(ctx context.Context, db datastores.Database) error {
	if db.CharacterSet != "" || db.Collate != "" {
		return datastores.Errorf(datastores.Invalid, "database %q: MongoDB knows no character sets and collations of databases", db.Name)
	}
	if slices.Contains(reservedDatabases(), db.Name) {
		return datastores.Errorf(datastores.Invalid, "database %q is the server's own", db.Name)
	}
	return m.lead(ctx, func(c *opmsg.Client) error {
		names, err := listDatabases(ctx, c)
		if err != nil {
			return err
		}
		if slices.Contains(names, db.Name) {
			return datastores.Errorf(datastores.Exists, "database %q exists", db.Name)
		}
		_, err = c.Call(ctx, db.Name, bson.D{{Key: "create", Value: firstCollection}, durable()})
		switch {
		case opmsg.HasCode(err, databaseDiffersInCase, namespaceExists):
			return datastores.Errorf(datastores.Exists, "database %q, or one whose name differs in case alone, exists", db.Name)
		case opmsg.HasCode(err, invalidNamespace):
			return datastores.Errorf(datastores.Invalid, "the server takes no database of the name %q", db.Name)
		}
		return err
	})
}

// ListDatabases implements [datastores.Databases].
func (m *Manager) ListDatabases(ctx context.Context) (all []datastores.Database, err error) {
	err = m.lead(ctx, func(c *opmsg.Client) error {
		names, err := listDatabases(ctx, c)
		for _, name := range names {
			all = append(all, datastores.Database{Name: name})
		}
		return err
	})
	return all, err
}

// DeleteDatabase implements [datastores.Databases]. First nobody may use it any more: a database of that name that is made later is another's.
func (m *Manager) DeleteDatabase(ctx context.Context, name string) error {
	if slices.Contains(reservedDatabases(), name) {
		return datastores.Errorf(datastores.Invalid, "database %q is the server's own", name)
	}
	return m.lead(ctx, func(c *opmsg.Client) error {
		users, err := listAccounts(ctx, c, "")
		if err != nil {
			return err
		}
		for _, u := range users {
			if slices.Contains(u.databases(), name) {
				if err := revoke(ctx, c, u.Name, name); err != nil {
					return err
				}
			}
		}
		names, err := listDatabases(ctx, c)
		if err != nil {
			return err
		}
		if !slices.Contains(names, name) {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", name)
		}
		_, err = c.Call(ctx, name, bson.D{{Key: "dropDatabase", Value: 1}, durable()})
		return err
	})
}

func listDatabases(ctx context.Context, c *opmsg.Client) (names []string, err error) {
	reply, err := c.Call(ctx, adminDatabase, bson.D{{Key: "listDatabases", Value: 1}, {Key: "nameOnly", Value: true}, anywhere()})
	if err != nil {
		return nil, err
	}
	var list struct {
		Databases []struct {
			Name string `bson:"name"`
		} `bson:"databases"`
	}
	err = bson.Unmarshal(reply, &list)
	for _, db := range list.Databases {
		names = append(names, db.Name)
	}
	return names, err
}

// durable has a write acknowledged when it outlives the server.
func durable() bson.E {
	return bson.E{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}, {Key: "j", Value: true}}}
}

// anywhere lets a replica answer, too.
func anywhere() bson.E {
	return bson.E{Key: "$readPreference", Value: bson.D{{Key: "mode", Value: "primaryPreferred"}}}
}
