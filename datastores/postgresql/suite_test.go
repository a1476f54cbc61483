package postgresql

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	datastoretest.Run(t, harness())
}

// TestSuiteOfNewest also takes the data of the oldest version over.
func TestSuiteOfNewest(t *testing.T) {
	t.Parallel()
	if !datastoretest.InImage(t, image) {
		return
	}
	h := harness()
	var err error
	h.Older, err = json.Marshal(DefaultOptions())
	must(t, err)
	h.Options, err = json.Marshal(newer(t))
	must(t, err)
	h.Obstruct = obstruct(newer(t))
	datastoretest.Run(t, h)
}

func harness() datastoretest.Harness {
	return datastoretest.Harness{
		Plugin: Plugin(),
		NewEnv: func(t *testing.T) datastores.Env { return newEnv(t) },
		Connect: func(ctx context.Context, address, user, password, database string) error {
			return asTenant(ctx, datastoretest.Login{Address: address, User: user, Password: password, Database: database},
				func(s *session) error { return s.exec(ctx, "SELECT 1") })
		},
		ConnectTLS: func(ctx context.Context, l datastoretest.Login, secure *tls.Config) error {
			config, err := networkConfig(l.Address, l.User, l.Password, cmp.Or(l.Database, homeDatabase))
			if err != nil {
				return err
			}
			config.TLSConfig = secure
			conn, err := pgconn.ConnectConfig(ctx, config)
			if err != nil {
				return err
			}
			s := session{conn}
			defer s.close()
			return s.exec(ctx, "SELECT 1")
		},
		Session: func(ctx context.Context, l datastoretest.Login) (datastoretest.Session, error) {
			s, err := dial(ctx, l.Address, l.User, l.Password, l.Database)
			return held{s}, err
		},
		FewConnections: datastores.Values{"max_connections": json.Number("20")},
		Obstruct:       obstruct(DefaultOptions()),
		Kinds:          kinds(),
		Write:          write,
		Digest:         digest,
		Dynamic: datastores.Values{
			"work_mem": "3MB", "random_page_cost": json.Number("1.5"), "log_lock_waits": true,
			"default_statistics_target": json.Number("77"), "timezone": "Europe/Vienna", "plan_cache_mode": "force_generic_plan",
		},
		Static:  datastores.Values{"max_connections": json.Number("61"), "shared_buffers": "24MB", "track_commit_timestamp": true},
		Refused: impossibleValues(),
		Show:    show,
		Stir: func(ctx context.Context, l datastoretest.Login, log string) error {
			return asTenant(ctx, l, func(s *session) error {
				_ = s.exec(ctx, "SELECT * FROM nothing") // of the error log
				return s.exec(ctx, "SELECT 1")
			})
		},
		Kill: kill,

		UpgradeObstacles: upgradeObstacles(),
	}
}

// held is one connection of a tenant's.
type held struct{ *session }

func (h held) Ask(ctx context.Context) error { return h.exec(ctx, "SELECT 1") }

func (h held) Close() error {
	h.close()
	return nil
}

// obstruct has the user work as nobody else, and prepare a transaction, which outlives its session.
func obstruct(options Options) func(context.Context, datastores.Env, datastoretest.Login) (datastoretest.Obstacle, error) {
	return func(ctx context.Context, env datastores.Env, l datastoretest.Login) (datastoretest.Obstacle, error) {
		m := New(env, options)
		restart := func(ctx context.Context, values datastores.Values) error {
			if _, err := m.UpdateOverrides(ctx, values); err != nil {
				return err
			}
			return errors.Join(m.Stop(ctx), m.Start(ctx))
		}
		if err := restart(ctx, datastores.Values{"max_prepared_transactions": json.Number("3")}); err != nil {
			return datastoretest.Obstacle{}, err
		}
		err := asTenant(ctx, l, func(s *session) error {
			return s.exec(ctx, "SET ROLE NONE; BEGIN; UPDATE items SET item = 'x' WHERE n = 0; CREATE TABLE own (); PREPARE TRANSACTION 'in the way'")
		})
		return datastoretest.Obstacle{Named: "'in the way'", Clear: func(ctx context.Context) error {
			err := m.withIn(ctx, l.Database, func(s *session) error { return s.exec(ctx, "ROLLBACK PREPARED 'in the way'") })
			return errors.Join(err, restart(ctx, nil))
		}}, err
	}
}

// impossibleValues are values with which no server starts, or none in an instance of this size.
func impossibleValues() []datastores.Values {
	return []datastores.Values{
		{"shared_buffers": "900TB"}, {"shared_buffers": "500GB"}, {"shared_buffers": "1GB"},
		{"max_pred_locks_per_transaction": json.Number("2147483647")},
		{"max_locks_per_transaction": json.Number("100000")},
		{"max_connections": json.Number("262143")}, {"autovacuum_max_workers": json.Number("262143")},
		{"max_prepared_transactions": json.Number("262143")}, {"max_worker_processes": json.Number("262143")},
		{"superuser_reserved_connections": json.Number("5000")}, {"superuser_reserved_connections": json.Number("100")},
		{"huge_pages": "on"},
		{"lc_messages": "tlh_QO"}, {"lc_monetary": "tlh_QO"}, {"timezone": "Mars/Olympus"}, {"log_timezone": "Mars/Olympus"},
		{"client_encoding": "KLINGON"}, {"datestyle": "stardate"},
		// What hides a reason.
		{"shared_buffers": "500GB", "log_min_messages": "panic", "log_line_prefix": "%q"},
	}
}

func asTenant(ctx context.Context, l datastoretest.Login, do func(*session) error) error {
	s, err := dial(ctx, l.Address, l.User, l.Password, cmp.Or(l.Database, homeDatabase)) // root has no database of its name
	if err != nil {
		return err
	}
	defer s.close()
	return do(s)
}

func write(ctx context.Context, l datastoretest.Login, from, to int) (acknowledged int, err error) {
	return acknowledged, asTenant(ctx, l, func(s *session) error {
		if err := s.exec(ctx, "CREATE TABLE IF NOT EXISTS items (n int PRIMARY KEY, item text)"); err != nil {
			return err
		}
		for n := from; n < to; n++ {
			_, err := s.query(ctx, "INSERT INTO items VALUES ($1, $2) ON CONFLICT DO NOTHING", strconv.Itoa(n), string(datastoretest.Item(n)))
			if err != nil {
				return err
			}
			acknowledged++
		}
		return nil
	})
}

// digest reads every table of the database in the order of its rows as text.
func digest(ctx context.Context, l datastoretest.Login) (items int, digest string, err error) {
	err = asTenant(ctx, l, func(s *session) error {
		tables, err := s.column(ctx, `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
			WHERE schemaname !~ '^(pg_|information_schema)' ORDER BY 1`)
		if err != nil {
			return err
		}
		sum := sha256.New()
		for _, table := range tables {
			rows, err := s.column(ctx, "SELECT t::text FROM "+table+" t ORDER BY 1")
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "%q %q", table, rows)
			if table == "public.items" {
				items = len(rows)
			}
		}
		digest = fmt.Sprintf("%x", sum.Sum(nil))
		return nil
	})
	return items, digest, err
}

// show reads a setting in the words of the parameter's values.
func show(ctx context.Context, manager datastores.Manager, name string) (shown string, err error) {
	m := manager.(*Manager)
	column := "setting"
	for _, p := range m.Parameters() {
		if p.Name == name && p.Type == datastores.StringParameter {
			column = "current_setting(name)"
		}
	}
	err = m.with(ctx, func(s *session) error {
		v, err := s.one(ctx, "SELECT "+column+" FROM pg_settings WHERE lower(name) = $1", name)
		shown = v.String()
		return err
	})
	for _, p := range m.Parameters() {
		if p.Name == name && p.Type == datastores.BooleanParameter {
			shown = strconv.FormatBool(shown == "on")
		}
	}
	return shown, err
}

// kill ends the server and its children, which are each in a group of its own.
func kill(ctx context.Context, env datastores.Env) error {
	pid, _, ok := New(env, DefaultOptions()).service.Running()
	if !ok {
		return nil
	}
	pids := []int{pid}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return err
	}
	for _, field := range strings.Fields(string(children)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		pids = append(pids, child)
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range pids {
		if !until.Holds(time.Minute, func() bool {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return ctx.Err() != nil || err != nil || strings.Contains(string(b), ") Z ")
		}) {
			return fmt.Errorf("process %d does not end", pid)
		}
	}
	return ctx.Err()
}
