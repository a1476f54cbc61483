package redis

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// TestQuestion puts questions to a server: their account reads keys, does nothing else, and is gone afterwards.
func TestQuestion(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		m, ctx := started(t, o, datastores.PrepareRequest{}), t.Context()
		must(t, m.call(ctx, []string{"SET", "a", "one"}, []string{"RPUSH", "l", "x", "y z"}, []string{"SELECT", "3"}, []string{"SET", "a", "three"}))
		ask := func(database, query string) (string, error) {
			return m.Ask(ctx, datastores.Question{Database: database, Query: datastores.NewSecret(query)})
		}
		for _, row := range [][3]string{
			{"", "GET a", "one\n"}, {"3", "GET a", "three\n"}, {"", "lrange  l 0 -1", "x\ny z\n"}, {"", `GET "a"`, "one\n"}, {"", `EXISTS "a b"`, "0\n"}, {"", "DBSIZE", "2\n"},
		} {
			if got, err := ask(row[0], row[1]); got != row[2] || err != nil {
				t.Errorf("%s of %q: %q, %v; want %q", row[1], row[0], got, err, row[2])
			}
		}
		for _, query := range []string{
			"", `GET "a`, "SET secret 1", "DEL a", "FLUSHALL", "CONFIG GET *", "ACL LIST", "EVAL return(1) 0", "KEYS *", "SHUTDOWN", "secret", "GET secret secret", "DEBUG SLEEP 1", "RESTORE secret 0 x",
		} {
			got, err := ask("", query)
			if err == nil || strings.Contains(err.Error(), "secret") || got != "" {
				t.Errorf("%q is answered with %q, %v", query, got, err)
			}
		}
		if _, err := ask("x", "GET a"); err == nil {
			t.Error("database x is taken")
		}
		all, err := m.accounts(ctx)
		if must(t, err); slices.ContainsFunc(all, func(a account) bool { return a.Name == askUser }) {
			t.Error("the account is still there")
		}
	})
}

// TestDigestTellsOfEachKey has a digest be another one with each change of what is there, and the same without.
func TestDigestTellsOfEachKey(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		m, ctx := started(t, o, datastores.PrepareRequest{}), t.Context()
		var seen []string
		digest := func() string {
			r, err := m.Check(ctx)
			must(t, err)
			return r.Digest
		}
		for _, change := range []string{"SET a 1", "SET a 2", "SET b 1", "RPUSH l x", "RPUSH l y", "HSET h f v", "ZADD z 1 m", "SADD s m", "XADD x * f v", "DEL a"} {
			must(t, m.call(ctx, strings.Fields(change)))
			now := digest()
			if slices.Contains(seen, now) || digest() != now {
				t.Errorf("after %s the digest is %s again, or not the same twice", change, now)
			}
			seen = append(seen, now)
		}
		if r, err := m.Check(ctx); err != nil || r.Objects != 6 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
