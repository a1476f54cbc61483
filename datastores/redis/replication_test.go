package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

func accountOf(n int) datastores.ReplicaAccount {
	return datastores.ReplicaAccount{ReplicaID: fmt.Sprint(n), User: fmt.Sprintf("replica_%d", n), Password: datastores.NewSecret(fmt.Sprintf("secret' %d", n))}
}

func attachTo(m *Manager, account datastores.ReplicaAccount) datastores.AttachRequest {
	return datastores.AttachRequest{Address: m.env.Address, Account: account, Progress: func(string) {}}
}

// replicaOf makes a new replica as the guest runtime does.
func replicaOf(t *testing.T, source *Manager, n int) *Manager {
	t.Helper()
	must(t, source.addReplica(t.Context(), accountOf(n)))
	r := place(t, source.options)
	must(t, r.Prepare(t.Context(), datastores.PrepareRequest{Progress: func(string) {}, Replicate: &datastores.Replicate{
		Strategy: r.ReplicationStrategies()[0], Request: attachTo(source, accountOf(n)),
	}}))
	return r
}

// TestPromotionKeepsUsersAndData fences a source, promotes its replica, and attaches the former source, again after a crash.
func TestPromotionKeepsUsersAndData(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		a, ctx := started(t, o, datastores.PrepareRequest{}), t.Context()
		c := open(t, a)
		fill(t, a, 0, 1000)
		b := replicaOf(t, a, 1)
		must(t, client(t, b, rootName, rootPassword).Ping(ctx).Err())
		endsOnReplica(t, b)
		must(t, a.CreateUser(ctx, datastores.User{Name: "late", Password: datastores.NewSecret("late's")}))
		must(t, c.Set(ctx, "expires", "v", 50*time.Millisecond).Err()) // moves the offset after the fence
		must(t, a.setReadOnly(ctx, true))
		p, err := a.position(ctx)
		must(t, err)
		if err := c.Set(ctx, "k", "v", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("a fenced source takes %v", err)
		}
		if err := c.Eval(ctx, "return redis.call('SET', 'k', 'v')", nil).Err(); err == nil {
			t.Error("a script writes to a fenced source")
		}
		must(t, b.waitFor(ctx, p))
		soon(t, "the key expires", func() bool { n, err := c.Exists(ctx, "expires").Result(); return err == nil && n == 0 })
		for range 2 {
			must(t, b.promote(ctx, []datastores.ReplicaAccount{accountOf(2)}))
		}
		must(t, client(t, b, "late", "late's").Set(ctx, "new", "v", 0).Err())
		must(t, client(t, b, rootName, rootPassword).Ping(ctx).Err())
		if on, err := b.RootEnabled(ctx); err != nil || !on {
			t.Errorf("root is enabled %v, %v after a promotion", on, err)
		}
		must(t, kill(ctx, a.env))
		must(t, a.Start(ctx))
		req := attachTo(b, accountOf(2))
		req.Former = true
		for range 2 {
			must(t, a.attach(ctx, req))
		}
		want := digestOf(t, b)
		soon(t, "the former source has all", func() bool { return digestOf(t, a) == want })
		if err := client(t, a, "late", "late's").Set(ctx, "x", "v", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "READONLY") {
			t.Errorf("the former source takes %v", err)
		}
	})
}

// endsOnReplica has a session on a replica end when the gateway tells its guest, as it tells the source's.
func endsOnReplica(t *testing.T, replica *Manager) {
	t.Helper()
	ctx := t.Context()
	for what, do := range map[string]func() error{
		"a new password": func() error {
			return replica.UpdateUser(ctx, "ann", "%", datastores.UserChange{Password: datastores.NewSecret("another")})
		},
		"a delete": func() error { return replica.DeleteUser(ctx, "ann", "%") },
	} {
		must(t, replica.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("pass")}))
		session, err := openSession(ctx, datastoretest.Login{Address: replica.env.Address, User: "ann", Password: "pass"})
		must(t, err)
		must(t, session.Ask(ctx))
		must(t, do())
		if err := session.Ask(ctx); err == nil {
			t.Errorf("after %s the session on a replica goes on", what)
		}
		_ = session.Close()
		_ = replica.DeleteUser(ctx, "ann", "%")
	}
}

// TestFormerSourceWithWritesOfItsOwn is refused, stays fenced and keeps its data.
func TestFormerSourceWithWritesOfItsOwn(t *testing.T) {
	a, ctx := running(t), t.Context()
	open(t, a)
	fill(t, a, 0, 100)
	b := replicaOf(t, a, 1)
	must(t, b.Stop(ctx))
	fill(t, a, 100, 110)
	must(t, b.detach(ctx)) // stopped: it cannot know of the last ten
	must(t, b.Start(ctx))
	must(t, b.promote(ctx, []datastores.ReplicaAccount{accountOf(2)}))
	req := attachTo(b, accountOf(2))
	req.Former = true
	before := digestOf(t, a)
	wantKind(t, "attach", a.attach(ctx, req), datastores.Conflict)
	if after := digestOf(t, a); after != before {
		t.Error("a former source that was refused has lost data")
	}
	if _, err := writeItems(ctx, a.env.Address, rootName, rootPassword, 110, 111); err == nil {
		t.Error("a former source that was refused takes writes")
	}
	must(t, a.setReadOnly(ctx, false))
	fill(t, a, 110, 111)
}

func TestReplicaThatNeverHadAllIsNotPromoted(t *testing.T) {
	m, ctx := running(t), t.Context()
	must(t, m.saveSide(side{Source: &source{Address: m.env.Address, User: "x", Password: "x"}}))
	wantKind(t, "promote", m.promote(ctx, nil), datastores.Conflict)
	st, err := m.loadSide()
	if err != nil || st.Source == nil {
		t.Errorf("after that it is no replica: %+v, %v", st, err)
	}
}

func TestAttachWithAWrongPassword(t *testing.T) {
	a, b, ctx := running(t), running(t), t.Context()
	must(t, a.addReplica(ctx, accountOf(1)))
	wrong := accountOf(1)
	wrong.Password = datastores.NewSecret("Tell-Nobody-42")
	err := b.attach(ctx, attachTo(a, wrong))
	if err == nil || strings.Contains(err.Error(), "Tell-Nobody-42") {
		t.Errorf("attached: %v", err)
	}
	open(t, b)
	fill(t, b, 0, 1) // it is what it was
}

// TestReplicaAccountCanOnlyFollow logs in with it as a tenant would who got hold of it.
func TestReplicaAccountCanOnlyFollow(t *testing.T) {
	a, ctx := running(t), t.Context()
	open(t, a)
	must(t, a.addReplica(ctx, accountOf(1)))
	c := client(t, a, accountOf(1).User, accountOf(1).Password.Reveal())
	for _, command := range []string{"GET k", "SET k v", "KEYS *", "CONFIG GET *", "ACL SETUSER x on", "SHUTDOWN", "EVAL return(1) 0", "SUBSCRIBE x", "FLUSHALL"} {
		if err := c.Do(ctx, words(command)...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s = %v", command, err)
		}
	}
	for range 2 {
		must(t, a.removeReplica(ctx, accountOf(1)))
	}
	if c.Ping(ctx).Err() == nil {
		t.Error("the account works after it was removed")
	}
}

// TestPasswordOfTheSource is in files for the guest and the server alone.
func TestPasswordOfTheSource(t *testing.T) {
	a := running(t)
	open(t, a)
	r := replicaOf(t, a, 1)
	for _, file := range []string{r.env.Dir + "/" + sideName, r.dataPath(configFile)} {
		b, err := os.ReadFile(file)
		must(t, err)
		info, err := os.Stat(file)
		if err != nil || info.Mode() != 0o600 || !strings.Contains(string(b), "secret' 1") && !strings.Contains(string(b), `secret\u0027 1`) {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	c := client(t, r, rootName, rootPassword)
	if text, err := c.Info(t.Context()).Result(); err != nil || strings.Contains(text, "secret'") {
		t.Errorf("INFO tells the password, %v", err)
	}
}

// TestAttachEndsWithItsContext: the source takes connections and says nothing.
func TestAttachEndsWithItsContext(t *testing.T) {
	m := running(t)
	silent := place(t, m.options)
	l, err := net.Listen("tcp", net.JoinHostPort(silent.env.Address, fmt.Sprint(port)))
	must(t, err)
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := m.attach(ctx, attachTo(silent, accountOf(1))); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("attach = %v after %v", err, time.Since(begun))
	}
}

func TestUpgrade(t *testing.T) {
	if !datastoretest.InImage(t, image) {
		return
	}
	old, ctx := running(t), t.Context()
	open(t, old)
	fill(t, old, 0, 500)
	want := digestOf(t, old)
	must(t, old.Stop(ctx))
	upgrade := func(to, from Options) error {
		raw, err := json.Marshal(from)
		must(t, err)
		return New(old.env, to).Upgrade(ctx, datastores.UpgradeRequest{From: raw, Progress: func(string) {}})
	}
	valkey := optionsOf(t, variants()[1])
	wantKind(t, "downgrade", upgrade(old.options, valkey), datastores.Invalid)
	for range 2 {
		must(t, upgrade(valkey, old.options))
	}
	newer := New(old.env, valkey)
	if got := digestOf(t, newer); got != want {
		t.Errorf("%s after the upgrade, %s before", got, want)
	}
	must(t, newer.rewriteLog(ctx))
	must(t, newer.Stop(ctx))
	wantKind(t, "a lie about what was there", upgrade(old.options, old.options), datastores.Invalid)
	must(t, newer.Start(ctx))
}

func TestWhoTakesOverWhom(t *testing.T) {
	all := map[string]variant{}
	for _, v := range append(variants(), variant{name: "redis-7.10", rdb: 11}, variant{name: "redis-8.0", rdb: 12}, variant{name: "valkey-8.0", rdb: 11}) {
		all[v.name] = v
	}
	for pair, want := range map[string]bool{
		"redis-7.0 redis-7.0": true, "redis-7.10 redis-7.0": true, "redis-7.0 redis-7.10": false, "valkey-8.1 redis-7.0": true,
		"valkey-8.1 redis-8.0": false, "valkey-8.1 valkey-8.0": true, "valkey-8.0 valkey-8.1": false, "redis-7.0 valkey-8.1": false,
		"redis-8.0 valkey-8.1": false,
	} {
		to, from, _ := strings.Cut(pair, " ")
		if got := all[to].takesOver(all[from]); got != want {
			t.Errorf("%s after %s: %v", to, from, got)
		}
	}
}

func TestHistoryHas(t *testing.T) {
	h := history{role: roleSource, replid: "new", offset: 200, replid2: "old", secondOffset: 101}
	for id, want := range map[string]bool{"new:200": true, "new:201": false, "old:100": true, "old:101": false, "other:1": false, ":0": false} {
		var p datastores.Position
		p.ID = id
		_, _ = fmt.Sscan(id[strings.Index(id, ":")+1:], &p.Count)
		if got := h.has(p); got != want {
			t.Errorf("has %s: %v", id, got)
		}
	}
	if (history{}).has(datastores.Position{}) {
		t.Error("a history without a name has something")
	}
}
