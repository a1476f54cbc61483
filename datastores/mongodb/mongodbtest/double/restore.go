package double

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

func insecure(on bool) *tls.Config {
	if !on {
		return nil
	}
	return &tls.Config{InsecureSkipVerify: true}
}

// restoreMain loads an archive. An archive that ends before its end is an error.
func restoreMain(ctx context.Context, args []string, in io.Reader) error {
	f, err := parseFlags("mongorestore", args)
	if err != nil {
		return err
	}
	c, err := f.target.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	from := bufio.NewReader(in)
	for {
		b, err := readDocument(from)
		if err != nil {
			return fmt.Errorf("corruption found in archive: %w", err)
		}
		var p part
		if err := bson.Unmarshal(b, &p); err != nil {
			return fmt.Errorf("corruption found in archive: %w", err)
		}
		if p.End {
			return nil
		}
		if err := f.load(ctx, c, p); err != nil {
			return err
		}
	}
}

func (f toolFlags) load(ctx context.Context, c *opmsg.Client, p part) error {
	switch {
	case p.Write != nil && f.oplog:
		return replay(ctx, c, *p.Write)
	case p.Write != nil:
		return nil
	case p.Document != nil:
		return upsertDocument(ctx, c, p.Collection, p.Document)
	}
	database, name, _ := splitNamespace(p.Collection)
	if strings.HasPrefix(name, "system.") {
		return nil
	}
	if f.drop {
		if _, err := c.Call(ctx, database, bson.D{{Key: "drop", Value: name}}); err != nil {
			return err
		}
	}
	if _, err := c.Call(ctx, database, bson.D{{Key: "create", Value: name}}); err != nil && !opmsg.HasCode(err, namespaceExists.code) {
		return err
	}
	if len(p.Indexes) == 0 {
		return nil
	}
	_, err := c.Call(ctx, database, bson.D{{Key: "createIndexes", Value: name}, {Key: "indexes", Value: p.Indexes}})
	return err
}

// upsertDocument stores a document. Users and roles are merged with those that are there; the server's own version is not restored.
func upsertDocument(ctx context.Context, c *opmsg.Client, namespace string, d bson.D) error {
	if namespace == versionNamespace {
		return nil
	}
	database, name, _ := splitNamespace(namespace)
	id, _ := get(d, "_id")
	_, err := c.Call(ctx, database, bson.D{{Key: "update", Value: name}, {Key: "updates", Value: bson.A{
		bson.D{{Key: "q", Value: bson.D{{Key: "_id", Value: id}}}, {Key: "u", Value: d}, {Key: "upsert", Value: true}},
	}}})
	return err
}

// replay does a write of the oplog again, which may be in the data already.
func replay(ctx context.Context, c *opmsg.Client, w record) (err error) {
	database, name, _ := splitNamespace(w.NS)
	switch w.Op {
	case "i", "u":
		return upsertDocument(ctx, c, w.NS, w.Object)
	case "d":
		_, err = c.Call(ctx, database, bson.D{{Key: "delete", Value: name}, {Key: "deletes", Value: bson.A{bson.D{{Key: "q", Value: w.Which}, {Key: "limit", Value: 1}}}}})
	case "c":
		if w.Object[0].Key == "renameCollection" {
			return errors.New("cannot replay renameCollection")
		}
		_, err = c.Call(ctx, database, w.Object)
	}
	if opmsg.HasCode(err, namespaceExists.code) {
		return nil
	}
	return err
}
