package mongodb

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/mongodb/mongodbtest"
	"github.com/cofferdb/coffer/datastores/service"
)

func newEnv(t *testing.T) datastores.Env {
	env := datastoretest.NewEnvIn(t, datastoretest.InMemory())
	env.MemoryMB = 1024
	return env
}

// optionsOf are the options of a version, with the double's programs.
func optionsOf(t testing.TB, p mongodbtest.Programs, version string) []byte {
	t.Helper()
	o := defaultsOf(version)
	o.Program, o.ToolsDir = p.Mongod(version), p.Dir(version)
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMongoDB runs the suite with the double.
func TestMongoDB(t *testing.T) {
	t.Parallel()
	t.Log("NOT TESTED with a mongod, of which there is none: the server here is a double, see mongodbtest")
	p := mongodbtest.Build(t)
	datastoretest.Run(t, harness(optionsOf(t, p, "8.0"), optionsOf(t, p, "7.0")))
}

func harness(newer, older []byte) datastoretest.Harness {
	return datastoretest.Harness{
		Plugin:  Plugin(),
		Options: newer,
		Older:   older,
		NewEnv:  newEnv,
		Connect: func(ctx context.Context, address, user, password, database string) error {
			return visit(ctx, datastoretest.Login{Address: address, User: user, Password: password, Database: database}, nil)
		},
		ConnectTLS: visit,
		Session: func(ctx context.Context, l datastoretest.Login) (datastoretest.Session, error) {
			c, err := tenant(l, nil)
			if err != nil {
				return nil, err
			}
			s := held{c, l.Database}
			if err := s.Ask(ctx); err != nil {
				return nil, errors.Join(err, s.Close())
			}
			return s, nil
		},
		FewConnections: datastores.Values{"net.maxIncomingConnections": json.Number("64")},
		Kinds:          kinds(),
		Write:          writeItems,
		Digest:         digest,
		Static: datastores.Values{
			"net.maxIncomingConnections": json.Number("300"), "operationProfiling.mode": "slowOp", "systemLog.quiet": true,
			"systemLog.component.storage.journal.verbosity": json.Number("2"), cacheSize: json.Number("0.375"),
		},
		Refused: []datastores.Values{{cacheSize: json.Number("10000")}},
		Show: func(ctx context.Context, m datastores.Manager, parameter string) (string, error) {
			running, err := m.(*Manager).runningConfiguration(ctx)
			return running[parameter], err
		},
		Kill: kill,
	}
}

// tenant is a client over the network: MongoDB's own driver.
func tenant(l datastoretest.Login, secure *tls.Config) (*mongo.Client, error) {
	o := options.Client().SetHosts([]string{host(l.Address)}).SetDirect(true).SetMaxPoolSize(1).SetServerSelectionTimeout(2 * time.Second).
		SetRetryReads(false).SetRetryWrites(false).SetTimeout(20 * time.Second)
	if secure != nil {
		o.SetTLSConfig(secure)
	}
	if l.User != "" {
		o.SetAuth(options.Credential{AuthMechanism: "SCRAM-SHA-256", AuthSource: adminDatabase, Username: l.User, Password: l.Password, PasswordSet: true})
	}
	return mongo.Connect(o)
}

// held is one client with one connection.
type held struct {
	client   *mongo.Client
	database string
}

func (h held) Close() error { return h.client.Disconnect(context.Background()) }

// Ask asks for something that only a user of the database gets, or anybody who has logged in.
func (h held) Ask(ctx context.Context) error {
	if h.database == "" {
		return h.client.Database(adminDatabase).RunCommand(ctx, bson.D{{Key: "listDatabases", Value: 1}}).Err()
	}
	err := h.client.Database(h.database).Collection("items").FindOne(ctx, bson.D{{Key: "_id", Value: -1}}).Err()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil
	}
	return err
}

func visit(ctx context.Context, l datastoretest.Login, secure *tls.Config) error {
	if secure != nil { // the driver would try again and again
		conn, err := (&tls.Dialer{Config: secure}).DialContext(ctx, "tcp", host(l.Address))
		if err != nil {
			return err
		}
		_ = conn.Close()
	}
	c, err := tenant(l, secure)
	if err != nil {
		return err
	}
	h := held{c, l.Database}
	return errors.Join(h.Ask(ctx), h.Close())
}

func kill(ctx context.Context, env datastores.Env) error {
	return datastoretest.KillServer(ctx, &service.Service{Name: "mongodb", Dir: env.Dir})
}

func items(c *mongo.Client, l datastoretest.Login) *mongo.Collection {
	database := l.Database
	if database == "" {
		database = "test"
	}
	return c.Database(database).Collection("items")
}

func writeItems(ctx context.Context, l datastoretest.Login, from, to int) (int, error) {
	c, err := tenant(l, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Disconnect(context.Background()) }()
	for i := from; i < to; i++ {
		_, err := items(c, l).InsertOne(ctx, bson.D{{Key: "_id", Value: i}, {Key: "text", Value: datastoretest.Item(i)}})
		if err != nil && !mongo.IsDuplicateKeyError(err) {
			return i - from, err
		}
	}
	return to - from, nil
}

func digest(ctx context.Context, l datastoretest.Login) (int, string, error) {
	c, err := tenant(l, nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = c.Disconnect(context.Background()) }()
	db := c.Database(l.Database)
	names, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return 0, "", err
	}
	h, count := sha256.New(), 0
	for _, name := range names {
		cursor, err := db.Collection(name).Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
		if err != nil {
			return 0, "", err
		}
		var all []bson.D
		if err := cursor.All(ctx, &all); err != nil {
			return 0, "", err
		}
		if name == "items" {
			count = len(all)
		}
		_, _ = fmt.Fprintln(h, name, all)
	}
	return count, hex.EncodeToString(h.Sum(nil)), nil
}
