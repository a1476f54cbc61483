package double

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

// toolFlags are those of mongodump and mongorestore that the double knows.
type toolFlags struct {
	config string
	oplog  bool // --oplog of mongodump, --oplogReplay of mongorestore
	drop   bool
	target target
}

// target is a server, as a connection string names it.
type target struct {
	socket, address, user, password string
	tls                             bool
}

func parseFlags(name string, args []string) (f toolFlags, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&f.config, "config", "", "")
	archive := flags.Bool("archive", false, "") // to or from the standard streams
	uri := flags.String("uri", "", "")
	if name == "mongodump" {
		flags.BoolVar(&f.oplog, "oplog", false, "")
	} else {
		flags.BoolVar(&f.oplog, "oplogReplay", false, "")
		flags.BoolVar(&f.drop, "drop", false, "")
	}
	if err := flags.Parse(args); err != nil {
		return f, err
	}
	if !*archive || flags.NArg() > 0 {
		return f, errors.New("the double wants --archive without a file")
	}
	if f.config != "" {
		var c struct {
			URI string `yaml:"uri"`
		}
		b, err := os.ReadFile(f.config)
		if err != nil {
			return f, err
		}
		if err := yaml.UnmarshalWithOptions(b, &c, yaml.Strict()); err != nil {
			return f, err
		}
		*uri = c.URI
	}
	f.target, err = parseURI(*uri)
	return f, err
}

func parseURI(text string) (t target, err error) {
	rest, ok := strings.CutPrefix(text, "mongodb://")
	if !ok {
		return t, errors.New("error parsing uri: scheme must be mongodb")
	}
	host, query, _ := strings.Cut(rest, "/?")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		name, password, _ := strings.Cut(host[:i], ":")
		t.user, _ = url.QueryUnescape(name)
		t.password, _ = url.QueryUnescape(password)
		host = host[i+1:]
	}
	if host, err = url.PathUnescape(strings.TrimSuffix(host, "/")); err != nil {
		return t, err
	}
	if strings.HasSuffix(host, ".sock") {
		t.socket = host
	} else {
		t.address = host
	}
	values, err := url.ParseQuery(query)
	t.tls = values.Get("tls") == "true"
	return t, err
}

func (t target) open(ctx context.Context) (*opmsg.Client, error) {
	network, address := "tcp", t.address
	if t.socket != "" {
		network, address = "unix", t.socket
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("could not connect to server: %w", err)
	}
	c, err := opmsg.New(ctx, conn, insecure(t.tls))
	if err != nil {
		return nil, err
	}
	if t.user == "" {
		return c, nil
	}
	if err := c.Login(ctx, "admin", t.user, t.password); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// part is a piece of the double's own archive: a collection, its documents, the writes while it was made, the end.
type part struct {
	Collection string   `bson:"collection,omitempty"`
	Indexes    []bson.D `bson:"indexes,omitempty"`
	Document   bson.D   `bson:"document,omitempty"`
	Write      *record  `bson:"write,omitempty"`
	End        bool     `bson:"end,omitempty"`
}

// dumpMain writes every database but local, and with --oplog what was written meanwhile.
func dumpMain(ctx context.Context, args []string, out io.Writer) error {
	f, err := parseFlags("mongodump", args)
	if err != nil {
		return err
	}
	c, err := f.target.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	write := func(p part) error {
		b, err := bson.Marshal(p)
		if err == nil {
			_, err = out.Write(b)
		}
		return err
	}
	var began record
	if f.oplog {
		last, err := list[record](ctx, c, "local", bson.D{{Key: "find", Value: "oplog.rs"}, {Key: "sort", Value: bson.D{{Key: "$natural", Value: -1}}}, {Key: "limit", Value: 1}})
		if err != nil || len(last) == 0 {
			return errors.Join(errors.New("error getting oplog start: is this a member of a replica set?"), err)
		}
		began = last[0]
	}
	if err := dumpAll(ctx, c, write); err != nil {
		return err
	}
	if f.oplog {
		writes, err := list[record](ctx, c, "local", bson.D{{Key: "find", Value: "oplog.rs"}, {Key: "filter", Value: bson.D{{Key: "ts", Value: bson.D{{Key: "$gt", Value: began.TS}}}}}})
		if err != nil {
			return err
		}
		for _, w := range writes {
			if err := write(part{Write: &w}); err != nil {
				return err
			}
		}
	}
	return write(part{End: true})
}

func dumpAll(ctx context.Context, c *opmsg.Client, write func(part) error) error {
	raw, err := c.Call(ctx, "admin", bson.D{{Key: "listDatabases", Value: 1}, {Key: "$readPreference", Value: bson.D{{Key: "mode", Value: "primaryPreferred"}}}})
	if err != nil {
		return err
	}
	var reply struct {
		Databases []struct {
			Name string `bson:"name"`
		} `bson:"databases"`
	}
	if err := bson.Unmarshal(raw, &reply); err != nil {
		return err
	}
	for _, db := range reply.Databases {
		if db.Name == "local" || db.Name == "config" {
			continue
		}
		collections, err := list[bson.D](ctx, c, db.Name, bson.D{{Key: "listCollections", Value: 1}})
		if err != nil {
			return err
		}
		for _, d := range collections {
			if err := dumpCollection(ctx, c, db.Name, text(d, "name"), write); err != nil {
				return err
			}
		}
	}
	return nil
}

func dumpCollection(ctx context.Context, c *opmsg.Client, database, name string, write func(part) error) error {
	indexes, err := list[bson.D](ctx, c, database, bson.D{{Key: "listIndexes", Value: name}})
	if opmsg.HasCode(err, namespaceNotFound.code) {
		return nil // it was dropped meanwhile
	}
	if err != nil {
		return err
	}
	if err := write(part{Collection: database + "." + name, Indexes: indexes[1:]}); err != nil {
		return err
	}
	all, err := list[bson.D](ctx, c, database, bson.D{{Key: "find", Value: name}})
	for _, d := range all {
		if err := write(part{Collection: database + "." + name, Document: d}); err != nil {
			return err
		}
	}
	return err
}

// list runs a command that answers with a cursor.
func list[T any](ctx context.Context, c *opmsg.Client, database string, command bson.D) ([]T, error) {
	raw, err := c.Call(ctx, database, append(command, bson.E{Key: "$readPreference", Value: bson.D{{Key: "mode", Value: "primaryPreferred"}}}))
	if err != nil {
		return nil, err
	}
	var reply struct {
		Cursor struct {
			FirstBatch []T `bson:"firstBatch"`
		} `bson:"cursor"`
	}
	err = bson.Unmarshal(raw, &reply)
	return reply.Cursor.FirstBatch, err
}
