package redis

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
)

// image has Valkey as Debian packages it, and Redis 7.0 of the release before, unpacked.
const image = "debian-13"

// optionsOf are the options of a variant, with the program that there is here.
func optionsOf(t *testing.T, v variant) Options {
	t.Helper()
	o := defaultsOf(v)
	if older := "/opt/bookworm" + o.Program; v.server() == "redis" && exists(older) {
		o.Program = older
	}
	datastoretest.Require(t, o.Program, v.pkg)
	return o
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// eachVariant runs a test with every server, in the image that has them all.
func eachVariant(t *testing.T, test func(t *testing.T, o Options)) {
	if !datastoretest.InImage(t, image) {
		return
	}
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) { test(t, optionsOf(t, v)) })
	}
}

func newEnv(t *testing.T) datastores.Env { return datastoretest.NewEnv(t) }

// tenant is a client over the network. As redis-cli does, it sends a user's name only when there is one.
func tenant(address, user, password string) *redis.Client {
	if user == rootName {
		user = ""
	}
	return redis.NewClient(&redis.Options{
		Addr: net.JoinHostPort(address, strconv.Itoa(port)), Username: user, Password: password,
		MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

func TestRedis(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		o.AppendFsync = "always" // what is acknowledged is written, also when SIGKILL comes
		options, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		h := harness(options)
		if o.Server == "valkey-8.1" {
			h.Older, err = json.Marshal(optionsOf(t, variants()[0]))
			must(t, err)
		}
		datastoretest.Run(t, h)
	})
}

func harness(options []byte) datastoretest.Harness {
	return datastoretest.Harness{
		Plugin:  Plugin(),
		Options: options,
		NewEnv:  newEnv,
		Connect: func(ctx context.Context, address, user, password, _ string) error {
			c := tenant(address, user, password)
			defer func() { _ = c.Close() }()
			return c.Ping(ctx).Err()
		},
		ConnectTLS: func(ctx context.Context, l datastoretest.Login, secure *tls.Config) error {
			c, err := dialTCP(ctx, l.Address, secure)
			if err != nil {
				return err
			}
			_, err = c.call("AUTH", l.User, l.Password)
			return errors.Join(err, c.Close())
		},
		Session:        openSession,
		FewConnections: datastores.Values{"maxclients": json.Number("64")},
		Kinds:          kinds(),
		Write: func(ctx context.Context, l datastoretest.Login, from, to int) (int, error) {
			return writeItems(ctx, l.Address, l.User, l.Password, from, to)
		},
		Digest: func(ctx context.Context, l datastoretest.Login) (int, string, error) {
			return digest(ctx, l.Address, l.User, l.Password)
		},
		Dynamic: datastores.Values{"timeout": json.Number("300"), "maxmemory-policy": "allkeys-lru", "activerehashing": false},
		Static:  datastores.Values{"tcp-backlog": json.Number("300"), "rdbchecksum": false},
		Refused: []datastores.Values{
			{"maxmemory": json.Number("1099511627776")}, {"maxmemory": json.Number("0")},
			{"repl-backlog-size": json.Number("1099511627776")},
		},
		Show: func(ctx context.Context, m datastores.Manager, parameter string) (string, error) {
			value, err := current(ctx, m.(*Manager), parameter)
			if is, ok := map[string]string{"yes": "true", "no": "false"}[value]; ok {
				value = is
			}
			return value, err
		},
		Kill:     kill,
		Diverges: "the server cannot take writes back; what the new source lacks would be lost",
	}
}

// held is one connection of a tenant's. The driver, which the writes of kinds use, would dial again when it is gone.
type held struct {
	*conn
	client *redis.Client
}

func (h held) Close() error { return errors.Join(h.conn.Close(), h.client.Close()) }

func openSession(ctx context.Context, l datastoretest.Login) (datastoretest.Session, error) {
	c, err := dialTCP(context.WithoutCancel(ctx), l.Address, nil)
	if err != nil {
		return nil, err
	}
	if _, err := c.call("AUTH", l.User, l.Password); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return held{c, tenant(l.Address, l.User, l.Password)}, nil
}

func (h held) Ask(context.Context) error {
	if err := h.allow(callTimeout); err != nil {
		return err
	}
	_, err := h.call("PING")
	return err
}

func kill(ctx context.Context, env datastores.Env) error {
	return datastoretest.KillServer(ctx, &service.Service{Name: "redis", Dir: env.Dir})
}

// writeItems writes some items of each type, one after the other.
func writeItems(ctx context.Context, address, user, password string, from, to int) (int, error) {
	c := tenant(address, user, password)
	defer func() { _ = c.Close() }()
	for i := from; i < to; i++ {
		if err := c.Set(ctx, fmt.Sprintf("item:%08d", i), strings.Repeat(strconv.Itoa(i)+" ", 12), 0).Err(); err != nil {
			return i - from, err
		}
	}
	return to - from, nil
}

// digest is over all keys, with the values of those that have one.
func digest(ctx context.Context, address, user, password string) (int, string, error) {
	c := tenant(address, user, password)
	defer func() { _ = c.Close() }()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		return 0, "", err
	}
	slices.Sort(keys)
	h := sha256.New()
	for part := range slices.Chunk(keys, 500) {
		values, err := c.MGet(ctx, part...).Result()
		if err != nil {
			return 0, "", err
		}
		_, _ = fmt.Fprintln(h, part, values)
	}
	items := 0
	for _, key := range keys {
		if strings.HasPrefix(key, "item:") {
			items++
		}
	}
	return items, hex.EncodeToString(h.Sum(nil)), nil
}

func current(ctx context.Context, m *Manager, parameter string) (value string, err error) {
	err = m.talk(ctx, func(c *conn) error {
		pairs, err := c.list("CONFIG", "GET", parameter)
		value, _ = valueOf(pairs, parameter)
		return err
	})
	return value, err
}

func show(t *testing.T, m *Manager, parameter string) string {
	t.Helper()
	value, err := current(t.Context(), m, parameter)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

const rootPassword = "root pass"

// running returns a manager of a running server.
func running(t *testing.T) *Manager {
	t.Helper()
	return started(t, optionsOf(t, variants()[0]), datastores.PrepareRequest{})
}

// started prepares a server and ends it with the test.
func started(t *testing.T, o Options, req datastores.PrepareRequest) *Manager {
	t.Helper()
	m := place(t, o)
	req.Progress = func(string) {}
	must(t, m.Prepare(t.Context(), req))
	return m
}

// place is where a server may be made; it is ended with the test.
func place(t *testing.T, o Options) *Manager {
	t.Helper()
	m := New(newEnv(t), o)
	t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// open enables root and returns its client.
func open(t *testing.T, m *Manager) *redis.Client {
	t.Helper()
	_, err := m.EnableRoot(t.Context(), datastores.NewSecret(rootPassword))
	must(t, err)
	return client(t, m, rootName, rootPassword)
}

func client(t *testing.T, m *Manager, user, password string) *redis.Client {
	t.Helper()
	c := tenant(m.env.Address, user, password)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill writes items and keys of other types.
func fill(t *testing.T, m *Manager, from, to int) {
	t.Helper()
	_, err := writeItems(t.Context(), m.env.Address, rootName, rootPassword, from, to)
	must(t, err)
}

func digestOf(t *testing.T, m *Manager) string {
	t.Helper()
	n, d, err := digest(t.Context(), m.env.Address, rootName, rootPassword)
	must(t, err)
	return fmt.Sprintf("%d %s", n, d)
}

// soon waits for a condition.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !ok() {
		if !service.Pause(ctx, 5*time.Millisecond) {
			t.Fatalf("not soon: %s", what)
		}
	}
}
