package mongodb

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// writeKind is one way to store something in a database. reads is how many documents of the collection have ok: the number.
type writeKind struct {
	name  string
	write func(ctx context.Context, db *mongo.Database, name string) error
	reads int64
}

// kinds are the ways in which the double stores something. MongoDB has more: transactions, aggregations that write, GridFS, capped collections.
func kinds() (all []datastoretest.WriteKind) {
	for _, k := range writeKinds() {
		collection := func(round int) string { return fmt.Sprintf("%s-%d", k.name, round) }
		all = append(all, datastoretest.WriteKind{
			Name: k.name,
			Write: func(ctx context.Context, s datastoretest.Session, round int) error {
				h := s.(held)
				return k.write(ctx, h.client.Database(h.database), collection(round))
			},
			Read: func(ctx context.Context, s datastoretest.Session, round int) error {
				h := s.(held)
				cursor, err := h.client.Database(h.database).Collection(collection(round)).Find(ctx, bson.D{{Key: "ok", Value: true}})
				if err != nil {
					return err
				}
				var found []bson.D
				if err := cursor.All(ctx, &found); err != nil {
					return err
				}
				if int64(len(found)) != k.reads {
					return fmt.Errorf("%d documents, want %d", len(found), k.reads)
				}
				return nil
			},
		})
	}
	return all
}

var okay = bson.D{{Key: "ok", Value: true}}

func writeKinds() []writeKind {
	id := func(n int, more ...bson.E) bson.D { return append(bson.D{{Key: "_id", Value: n}}, more...) }
	yes := bson.E{Key: "ok", Value: true}
	setOK := bson.D{{Key: "$set", Value: okay}}
	return []writeKind{
		{"insert", func(ctx context.Context, db *mongo.Database, name string) error {
			_, err := db.Collection(name).InsertOne(ctx, okay)
			return err
		}, 1},
		{"insert-many", func(ctx context.Context, db *mongo.Database, name string) error {
			_, err := db.Collection(name).InsertMany(ctx, []any{id(1, yes), id(2, yes), id(3, yes)})
			return err
		}, 3},
		{"update", func(ctx context.Context, db *mongo.Database, name string) error {
			if _, err := db.Collection(name).InsertMany(ctx, []any{id(1), id(2), id(3)}); err != nil {
				return err
			}
			_, err := db.Collection(name).UpdateMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$lt", Value: 3}}}}, setOK)
			return err
		}, 2},
		{"upsert", func(ctx context.Context, db *mongo.Database, name string) error {
			_, err := db.Collection(name).UpdateOne(ctx, id(7), setOK, options.UpdateOne().SetUpsert(true))
			return err
		}, 1},
		{"replace", func(ctx context.Context, db *mongo.Database, name string) error {
			if _, err := db.Collection(name).InsertOne(ctx, id(1)); err != nil {
				return err
			}
			_, err := db.Collection(name).ReplaceOne(ctx, id(1), id(1, yes))
			return err
		}, 1},
		{"delete", func(ctx context.Context, db *mongo.Database, name string) error {
			if _, err := db.Collection(name).InsertMany(ctx, []any{id(1, yes), id(2, yes)}); err != nil {
				return err
			}
			_, err := db.Collection(name).DeleteOne(ctx, id(1))
			return err
		}, 1},
		{"find-and-update", func(ctx context.Context, db *mongo.Database, name string) error {
			if _, err := db.Collection(name).InsertOne(ctx, id(1)); err != nil {
				return err
			}
			return db.Collection(name).FindOneAndUpdate(ctx, id(1), setOK).Err()
		}, 1},
		{"bulk", func(ctx context.Context, db *mongo.Database, name string) error {
			_, err := db.Collection(name).BulkWrite(ctx, []mongo.WriteModel{
				mongo.NewInsertOneModel().SetDocument(id(1)), mongo.NewInsertOneModel().SetDocument(id(2, yes)),
				mongo.NewUpdateOneModel().SetFilter(id(1)).SetUpdate(setOK), mongo.NewDeleteOneModel().SetFilter(id(2)),
			})
			return err
		}, 1},
		{"unique-index", func(ctx context.Context, db *mongo.Database, name string) error {
			index := mongo.IndexModel{Keys: bson.D{{Key: "n", Value: 1}}, Options: options.Index().SetUnique(true)}
			if _, err := db.Collection(name).Indexes().CreateOne(ctx, index); err != nil {
				return err
			}
			_, err := db.Collection(name).InsertOne(ctx, id(1, yes, bson.E{Key: "n", Value: 1}))
			if _, err := db.Collection(name).InsertOne(ctx, id(2, yes, bson.E{Key: "n", Value: 1})); !mongo.IsDuplicateKeyError(err) {
				return fmt.Errorf("the index is none: %w", err)
			}
			return err
		}, 1},
		{"dropped", func(ctx context.Context, db *mongo.Database, name string) error {
			if _, err := db.Collection(name).InsertOne(ctx, id(1, yes)); err != nil {
				return err
			}
			if err := db.Collection(name).Drop(ctx); err != nil {
				return err
			}
			_, err := db.Collection(name).InsertOne(ctx, id(2, yes))
			return err
		}, 1},
	}
}
