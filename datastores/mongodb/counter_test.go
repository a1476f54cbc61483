package mongodb

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/clustertest"
	"github.com/cofferdb/coffer/datastores/mongodb/mongodbtest"
)

// TestCluster: three members that speak TLS to each other, and another one, of the double's.
func TestCluster(t *testing.T) {
	t.Parallel()
	t.Log("NOT TESTED with a mongod, of which there is none: the servers here are doubles, see mongodbtest")
	p, ca := mongodbtest.Build(t), datastoretest.NewAuthority(t)
	clustertest.Run(t, clustertest.Harness{
		Plugin:  Plugin(),
		Options: optionsOf(t, p, "8.0"),
		NewEnv: func(t *testing.T) datastores.Env {
			env := newEnv(t)
			datastoretest.SpeakTLS(&env).Set(t, ca, datastores.TLSBasic, false)
			return env
		},
		Open:  func(_ context.Context, at []datastoretest.Login) (clustertest.Client, error) { return newCounter(at) },
		Kill:  kill,
		Words: func(env datastores.Env) string { return New(env, DefaultOptions()).service.LastWords() },
		Cut:   clustertest.CutBy(),
	})
}

// counter is a client that finds the primary by the members that it is told of; or one of a single member, when it is told of one.
type counter struct {
	client *mongo.Client
	at     datastoretest.Login
	alone  bool
}

func newCounter(at []datastoretest.Login) (*counter, error) {
	c := &counter{at: at[0], alone: len(at) == 1}
	var hosts []string
	for _, l := range at {
		hosts = append(hosts, host(l.Address))
	}
	client, err := dialCounter(at[0], hosts, c.alone)
	c.client = client
	return c, err
}

func dialCounter(l datastoretest.Login, hosts []string, direct bool) (*mongo.Client, error) {
	return mongo.Connect(options.Client().SetHosts(hosts).SetDirect(direct).SetServerSelectionTimeout(2 * time.Second).SetHeartbeatInterval(500 * time.Millisecond).
		SetRetryReads(false).SetRetryWrites(false).SetConnectTimeout(2 * time.Second).SetTimeout(20 * time.Second).
		SetAuth(options.Credential{AuthMechanism: "SCRAM-SHA-256", AuthSource: adminDatabase, Username: l.User, Password: l.Password, PasswordSet: true}))
}

// Write implements [clustertest.Client]. A majority has what is acknowledged.
func (c *counter) Write(ctx context.Context, row int) error {
	rows := c.client.Database(c.at.Database).Collection("counted", options.Collection().SetWriteConcern(writeconcern.Majority()))
	_, err := rows.ReplaceOne(ctx, bson.D{{Key: "_id", Value: row}}, bson.D{{Key: "_id", Value: row}}, options.Replace().SetUpsert(true))
	return err
}

// Missing implements [clustertest.Client]. It reads at the member, when that has what the primary has now.
func (c *counter) Missing(ctx context.Context, rows int) (missing []int, err error) {
	now, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	find := bson.D{
		{Key: "find", Value: "counted"}, {Key: "batchSize", Value: 1 << 30},
		{Key: "readConcern", Value: bson.D{{Key: "level", Value: "majority"}, {Key: "afterClusterTime", Value: now}}},
	}
	cursor, err := c.client.Database(c.at.Database).RunCommandCursor(ctx, find, options.RunCmd().SetReadPreference(readpref.SecondaryPreferred()))
	if err != nil {
		return nil, err
	}
	var all []struct {
		ID int `bson:"_id"`
	}
	if err := cursor.All(ctx, &all); err != nil {
		return nil, err
	}
	there := map[int]bool{}
	for _, d := range all {
		there[d.ID] = true
	}
	for row := range rows {
		if !there[row] {
			missing = append(missing, row)
		}
	}
	return missing, nil
}

// now is the set's time: that of a write that a majority has.
func (c *counter) now(ctx context.Context) (now bson.Timestamp, err error) {
	all, err := dialCounter(c.at, []string{host(c.at.Address)}, false)
	if err != nil {
		return now, err
	}
	defer func() { _ = all.Disconnect(context.Background()) }()
	for {
		raw, err := all.Database(c.at.Database).RunCommand(ctx, bson.D{
			{Key: "update", Value: "marks"}, {Key: "updates", Value: bson.A{bson.D{
				{Key: "q", Value: bson.D{{Key: "_id", Value: 0}}}, {Key: "u", Value: bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 1}}}}}, {Key: "upsert", Value: true},
			}}}, {Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}}},
		}).Raw()
		if err == nil {
			t, i, ok := raw.Lookup("operationTime").TimestampOK()
			if _, failed := raw.Lookup("writeConcernError").DocumentOK(); ok && !failed {
				return bson.Timestamp{T: t, I: i}, nil
			}
		}
		if ctx.Err() != nil {
			return now, errors.Join(ctx.Err(), err)
		}
	}
}

// Close implements [clustertest.Client].
func (c *counter) Close() error { return c.client.Disconnect(context.Background()) }
