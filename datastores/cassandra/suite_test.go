package cassandra

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
)

// TestSuite takes six minutes on two quiet cores, and passes there; it runs where it is asked for. The definitions stay inactive until it runs each time, and an instance has been
// made of them through a gateway.
func TestSuite(t *testing.T) {
	if os.Getenv("COFFER_CASSANDRA_SUITE") == "" {
		t.Skip("NOT TESTED: COFFER_CASSANDRA_SUITE is not set")
	}
	datastoretest.Run(t, harness(t))
}

func harness(t *testing.T) datastoretest.Harness {
	return datastoretest.Harness{
		Plugin:  Plugin(),
		Options: jsonOf(t, optionsOf(t, "5.0")),
		NewEnv:  func(t *testing.T) datastores.Env { return newEnv(t) },
		Connect: func(ctx context.Context, address, user, password, database string) error {
			return asTenant(ctx, datastoretest.Login{Address: address, User: user, Password: password}, func(s *session) error {
				return visit(ctx, s, database)
			})
		},
		ConnectTLS: func(ctx context.Context, l datastoretest.Login, config *tls.Config) error {
			s, err := secureTenant(ctx, l, config)
			if err != nil {
				return err
			}
			defer s.Close()
			return visit(ctx, s, l.Database)
		},
		Session: func(ctx context.Context, l datastoretest.Login) (datastoretest.Session, error) {
			s, err := tenant(context.WithoutCancel(ctx), l)
			if err != nil {
				return nil, err
			}
			return held{s, l.Database}, visit(ctx, s, l.Database)
		},
		Kinds:  kinds(),
		Write:  write,
		Digest: digest,
		Static: datastores.Values{
			"concurrent_reads": json.Number("17"), "materialized_views_enabled": true, "read_request_timeout": "7s", "compaction_throughput": "32MiB/s",
		},
		Refused: []datastores.Values{
			{"row_cache_size": "9999MiB"}, {"batch_size_warn_threshold": "60KiB"}, {"tombstone_warn_threshold": json.Number("200000")},
		},
		Show: show,
		Stir: func(ctx context.Context, l datastoretest.Login, _ string) error {
			return asTenant(ctx, l, func(s *session) error {
				return s.exec(ctx, "CREATE TABLE IF NOT EXISTS "+name(l.Database)+".stirred (n int PRIMARY KEY)", "DROP TABLE "+name(l.Database)+".stirred")
			})
		},
		Older:   jsonOf(t, optionsOf(t, "4.1")),
		Kill:    kill,
		Timeout: 2 * time.Minute,
		Exceptions: []datastoretest.Exception{
			{Test: "process/sockets", Reason: "what nodetool asks the server takes at 127.0.0.1 or everywhere; see TestAccounts"},
			{Test: "sessions", Reason: "the server cannot end the sessions of one user: those of others end with them; see TestAccounts"},
		},
	}
}

type held struct {
	*session
	database string
}

func (h held) Ask(ctx context.Context) error {
	if h.database == "" {
		return h.exec(ctx, "SELECT key FROM system.local")
	}
	return h.exec(ctx, "SELECT n FROM "+name(h.database)+"."+visits+" LIMIT 1")
}

func (h held) Close() error {
	h.session.Close()
	return nil
}

func write(ctx context.Context, l datastoretest.Login, from, to int) (acknowledged int, err error) {
	return acknowledged, asTenant(ctx, l, func(s *session) error {
		table := name(l.Database) + ".items"
		if err := s.exec(ctx, "CREATE TABLE IF NOT EXISTS "+table+" (n int PRIMARY KEY, item text)"); err != nil {
			return err
		}
		for n := from; n < to; n++ {
			if err := s.exec(ctx, fmt.Sprintf("INSERT INTO %s (n, item) VALUES (%d, %s)", table, n, text(string(datastoretest.Item(n))))); err != nil {
				return err
			}
			acknowledged++
		}
		return nil
	})
}

// digest reads every table of the database but that of visitors, in the order of its rows as JSON.
func digest(ctx context.Context, l datastoretest.Login) (items int, digest string, err error) {
	err = asTenant(ctx, l, func(s *session) error {
		var table, row string
		var tables []string
		if err := s.each(ctx, "SELECT table_name FROM system_schema.tables WHERE keyspace_name = "+text(l.Database), func() {
			if table != visits {
				tables = append(tables, table)
			}
		}, &table); err != nil {
			return err
		}
		sum := sha256.New()
		for _, table := range tables {
			var rows []string
			if err := s.each(ctx, "SELECT JSON * FROM "+name(l.Database)+"."+name(table), func() { rows = append(rows, row) }, &row); err != nil {
				return err
			}
			slices.Sort(rows)
			fmt.Fprintf(sum, "%q %q", table, rows)
			if table == "items" {
				items = len(rows)
			}
		}
		digest = fmt.Sprintf("%x", sum.Sum(nil))
		return nil
	})
	return items, digest, err
}

// show reads a setting in the words of the parameter's values.
func show(ctx context.Context, manager datastores.Manager, parameter string) (shown string, err error) {
	m := manager.(*Manager)
	err = m.with(ctx, func(ctx context.Context, s *session) error {
		return s.one(ctx, "SELECT value FROM system_views.settings WHERE name = "+text(parameter), &shown)
	})
	if d, durationErr := time.ParseDuration(shown); durationErr == nil {
		shown = strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
		if d == 0 {
			shown = "0s"
		}
	}
	return shown, err
}

func jsonOf(t testing.TB, o Options) []byte {
	t.Helper()
	b, err := json.Marshal(o)
	must(t, err)
	return b
}

func kill(ctx context.Context, env datastores.Env) error {
	return datastoretest.KillServer(ctx, &service.Service{Name: "cassandra", Dir: env.Dir})
}
