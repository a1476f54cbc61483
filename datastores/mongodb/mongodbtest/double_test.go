package mongodbtest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/mongodb/mongodbtest"
)

// double is a running one.
type double struct {
	cmd     *exec.Cmd
	dir     string
	address string
	out     bytes.Buffer
}

// place makes a directory with a key and a configuration, whose settings more changes.
func place(t *testing.T, more map[string]any) *double {
	t.Helper()
	b := make([]byte, 3)
	_, _ = rand.Read(b)
	d := &double{dir: t.TempDir(), address: fmt.Sprintf("127.%d.%d.%d:27017", b[0], b[1], 1+b[2]%254)}
	host, _, _ := net.SplitHostPort(d.address)
	settings := map[string]any{
		"storage": map[string]any{"dbPath": d.dir}, "net": map[string]any{"bindIp": host, "port": 27017, "unixDomainSocket": map[string]any{"pathPrefix": d.dir}},
		"security": map[string]any{"authorization": "enabled", "keyFile": filepath.Join(d.dir, "key")}, "replication": map[string]any{"replSetName": "s"},
	}
	for name, value := range more {
		settings[name] = value
	}
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"key": []byte("secretsecret\n"), "conf": text} {
		if err := os.WriteFile(filepath.Join(d.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *double) start(t *testing.T, program string) {
	t.Helper()
	d.cmd = exec.Command(program, "--config", filepath.Join(d.dir, "conf"))
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	until.True(t, time.Minute, "the double answers", func() bool {
		c, err := net.Dial("tcp", d.address)
		return err == nil && c.Close() == nil
	})
}

func (d *double) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// client is MongoDB's own driver; the user __system is a member of the set, who has its key.
func (d *double) client(t *testing.T, user, password string) *mongo.Client {
	t.Helper()
	o := options.Client().SetHosts([]string{d.address}).SetDirect(true).SetServerSelectionTimeout(3 * time.Second)
	if user != "" {
		source := map[bool]string{true: "local", false: "admin"}[user == "__system"]
		o.SetAuth(options.Credential{AuthMechanism: "SCRAM-SHA-256", AuthSource: source, Username: user, Password: password, PasswordSet: true})
	}
	c, err := mongo.Connect(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	return c
}

func run(t *testing.T, c *mongo.Client, database string, command bson.D) error {
	t.Helper()
	return c.Database(database).RunCommand(t.Context(), command).Err()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, what string, err error, code int) {
	t.Helper()
	var e mongo.ServerError
	if !errors.As(err, &e) || !e.HasErrorCode(code) {
		t.Errorf("%s = %v, want code %d", what, err, code)
	}
}

func (d *double) initiated(t *testing.T) *mongo.Client {
	t.Helper()
	system := d.client(t, "__system", "secretsecret")
	one := bson.D{{Key: "_id", Value: "s"}, {Key: "members", Value: bson.A{bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: d.address}}}}}
	must(t, run(t, system, "admin", bson.D{{Key: "replSetInitiate", Value: one}}))
	return system
}

func createUser(name string, roles ...any) bson.D {
	return bson.D{{Key: "createUser", Value: name}, {Key: "pwd", Value: "pass"}, {Key: "roles", Value: bson.A(roles)}}
}

func on(role, database string) bson.D {
	return bson.D{{Key: "role", Value: role}, {Key: "db", Value: database}}
}

const (
	unauthorized         = 13
	authenticationFailed = 18
)

// TestAuthorization: the double lets nobody do what MongoDB's documents do not let him do.
func TestAuthorization(t *testing.T) {
	d := place(t, nil)
	d.start(t, mongodbtest.Build(t).Mongod("8.0"))
	system := d.initiated(t)
	must(t, run(t, system, "admin", createUser("reader", on("read", "shop"))))
	must(t, run(t, system, "admin", createUser("writer", on("readWrite", "shop"))))
	must(t, run(t, system, "admin", createUser("root", on("root", "admin"))))
	put := func(c *mongo.Client, database string) error {
		_, err := c.Database(database).Collection("c").InsertOne(t.Context(), bson.D{{Key: "x", Value: 1}})
		return err
	}
	look := func(c *mongo.Client, database, collection string) error {
		cursor, err := c.Database(database).Collection(collection).Find(t.Context(), bson.D{})
		if err == nil {
			err = cursor.Close(t.Context())
		}
		return err
	}
	nobody, reader, writer, root := d.client(t, "", ""), d.client(t, "reader", "pass"), d.client(t, "writer", "pass"), d.client(t, "root", "pass")
	wantCode(t, "nobody writes", put(nobody, "shop"), unauthorized)
	wantCode(t, "nobody reads", look(nobody, "shop", "c"), unauthorized)
	wantCode(t, "nobody lists databases", run(t, nobody, "admin", bson.D{{Key: "listDatabases", Value: 1}}), unauthorized)
	wantCode(t, "a wrong password", look(d.client(t, "reader", "x"), "shop", "c"), authenticationFailed)
	wantCode(t, "a reader writes", put(reader, "shop"), unauthorized)
	wantCode(t, "a writer writes elsewhere", put(writer, "blog"), unauthorized)
	wantCode(t, "a writer reads users", look(writer, "admin", "system.users"), unauthorized)
	wantCode(t, "a writer makes users", run(t, writer, "admin", createUser("eve", on("root", "admin"))), unauthorized)
	wantCode(t, "a writer changes the set", run(t, writer, "admin", bson.D{{Key: "replSetReconfig", Value: bson.D{}}}), unauthorized)
	must(t, put(writer, "shop"))
	must(t, look(reader, "shop", "c"))
	must(t, put(root, "blog"))

	must(t, run(t, system, "admin", bson.D{{Key: "dropUser", Value: "writer"}}))
	must(t, run(t, system, "admin", createUser("writer", on("readWrite", "shop"))))
	wantCode(t, "a session of a user who was dropped and made again", put(writer, "shop"), unauthorized)

	must(t, run(t, system, "admin", bson.D{{Key: "setUserWriteBlockMode", Value: 1}, {Key: "global", Value: true}}))
	wantCode(t, "a write while writes are blocked", put(d.client(t, "writer", "pass"), "shop"), 371)
	must(t, put(system, "shop"))
}

// TestDurability: what was acknowledged with j is there after SIGKILL, each time.
func TestDurability(t *testing.T) {
	program := mongodbtest.Build(t).Mongod("8.0")
	d := place(t, nil)
	d.start(t, program)
	system := d.initiated(t)
	for n := range 10 {
		_, err := system.Database("shop").Collection("c").InsertOne(t.Context(), bson.D{{Key: "_id", Value: n}})
		must(t, err)
		d.kill()
		d.start(t, program)
		system = d.client(t, "__system", "secretsecret")
		cursor, err := system.Database("shop").Collection("c").Find(t.Context(), bson.D{})
		must(t, err)
		var all []bson.D
		must(t, cursor.All(t.Context(), &all))
		if len(all) != n+1 {
			t.Fatalf("after %d writes and as many kills there are %d documents", n+1, len(all))
		}
	}
}

// TestRefusals: what the documents do not have the double does not take.
func TestRefusals(t *testing.T) {
	p := mongodbtest.Build(t)
	for name, more := range map[string]map[string]any{
		"an unknown setting":            {"systemLogs": map[string]any{"verbosity": 1}},
		"a cache that is too small":     {"storage": map[string]any{"dbPath": t.TempDir(), "wiredTiger": map[string]any{"engineConfig": map[string]any{"cacheSizeGB": 0.1}}}},
		"TLS without a certificate":     {"net": map[string]any{"bindIp": "127.0.0.1", "port": 27017, "tls": map[string]any{"mode": "requireTLS"}}},
		"a set without a key":           {"security": map[string]any{"authorization": "enabled"}},
		"a data folder that is no more": {"storage": map[string]any{"dbPath": "/nowhere"}},
	} {
		d := place(t, more)
		if out, err := exec.Command(p.Mongod("8.0"), "--config", filepath.Join(d.dir, "conf")).CombinedOutput(); err == nil {
			t.Errorf("with %s it starts: %s", name, out)
		}
	}
	d := place(t, nil)
	d.start(t, p.Mongod("8.0"))
	system := d.initiated(t)
	wantCode(t, "a second initiate", run(t, system, "admin", bson.D{{Key: "replSetInitiate", Value: bson.D{}}}), 23)
	two := bson.D{{Key: "_id", Value: "s"}, {Key: "version", Value: 2}, {Key: "members", Value: bson.A{
		bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: d.address}}, bson.D{{Key: "_id", Value: 1}, {Key: "host", Value: "127.0.0.1:1"}},
	}}}
	wantCode(t, "a second voter that is not there", run(t, system, "admin", bson.D{{Key: "replSetReconfig", Value: two}}), 74)
	wantCode(t, "an unknown command", run(t, system, "admin", bson.D{{Key: "whatsmyuri", Value: 1}}), 59)
	wantCode(t, "a format without confirmation", run(t, system, "admin", bson.D{{Key: "setFeatureCompatibilityVersion", Value: "7.0"}}), 7369100)
	d.kill()
	if out, err := exec.Command(p.Mongod("7.0"), "--config", filepath.Join(d.dir, "conf")).CombinedOutput(); err == nil {
		t.Errorf("7.0 starts with the data of 8.0: %s", out)
	}
}
