package postgresql

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferdb/coffer/datastores"
)

// classDamaged begins the SQLSTATEs of data and indexes that are damaged, and of files that cannot be read.
var classDamaged = []string{"XX", "58"}

// Check implements [datastores.Checker]: each row of every table is read and written out, which reads all of its pages, also those of long
// values, and holds them against their checksums where the server keeps any. Indexes are not read.
func (m *Manager) Check(ctx context.Context) (datastores.CheckReport, error) {
	report := datastores.CheckReport{By: "COPY", Unit: "tables"}
	var databases []string
	err := m.with(ctx, func(s *session) (err error) {
		databases, err = s.column(ctx, "SELECT datname FROM pg_database WHERE "+dumpedDatabases+" ORDER BY datname")
		return err
	})
	var sum datastores.Digest
	for _, database := range databases {
		if err == nil {
			err = m.withIn(ctx, database, func(s *session) error { return s.readTables(ctx, database, &report, &sum) })
		}
	}
	report.Digest = sum.String()
	return report, failed(err, "cannot read what is there")
}

// readTables reads the tables of a database.
func (s *session) readTables(ctx context.Context, database string, report *datastores.CheckReport, sum *datastores.Digest) error {
	tables, err := s.query(ctx, `SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%' ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	for _, t := range tables {
		schema, name := t[0].String(), t[1].String()
		rows := &rowReader{table: database + "." + schema + "." + name, sum: sum}
		_, err := s.conn.CopyTo(ctx, rows, fmt.Sprintf("COPY (SELECT * FROM ONLY %s.%s) TO STDOUT", identifier(schema), identifier(name)))
		report.Objects++
		report.Bytes += rows.bytes
		if said := (*pgconn.PgError)(nil); errors.As(err, &said) && (strings.HasPrefix(said.Code, classDamaged[0]) || strings.HasPrefix(said.Code, classDamaged[1])) {
			report.Problems = append(report.Problems, fmt.Sprintf("table %s cannot be read (%s)", rows.table, said.Code))
			if len(report.Problems) == datastores.MaxProblems {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rowReader sums up the rows of a table as COPY writes them, each a line.
type rowReader struct {
	table string
	sum   *datastores.Digest
	bytes int64
	rest  []byte
}

// Write implements [io.Writer].
func (r *rowReader) Write(p []byte) (int, error) {
	r.bytes += int64(len(p))
	r.rest = append(r.rest, p...)
	for {
		line, rest, whole := bytes.Cut(r.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		r.sum.Add(r.table, string(line))
		r.rest = rest
	}
}

// letRead lets an account into a database, and read what tenants have there.
func (s *session) letRead(ctx context.Context, database, who string) error {
	schemas, err := s.column(ctx, `SELECT nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'`)
	statements := "GRANT CONNECT ON DATABASE " + identifier(database) + " TO " + who
	for _, schema := range schemas {
		statements += fmt.Sprintf("; GRANT USAGE ON SCHEMA %[1]s TO %[2]s; GRANT SELECT ON ALL TABLES IN SCHEMA %[1]s TO %[2]s", identifier(schema), who)
	}
	if err != nil {
		return err
	}
	return s.exec(ctx, statements)
}

// Ask implements [datastores.Checker]. The question is one statement of SQL, put by an account that may read the tables of the database, in a
// transaction that only reads.
func (m *Manager) Ask(ctx context.Context, q datastores.Question) (answer string, err error) {
	refused := datastores.Errorf(datastores.Invalid, "the server does not take the question: it must be one statement that only reads")
	err = m.withAccount(ctx, "LOGIN", func(password datastores.Secret) (err error) {
		database := cmp.Or(q.Database, homeDatabase)
		err = m.withIn(ctx, database, func(s *session) error { return s.letRead(ctx, database, dumpUser) })
		if is(err, stateNoDatabase) {
			return datastores.Errorf(datastores.Invalid, "the server does not take the question: there is no such database")
		}
		if err != nil {
			return failed(err, "cannot let the account that asks into the database")
		}
		defer func() {
			ctx := context.WithoutCancel(ctx)
			err = errors.Join(err, m.withIn(ctx, database, func(s *session) error { return s.exec(ctx, "DROP OWNED BY "+dumpUser) }))
		}()
		config, err := m.socketConfig(dumpUser, database)
		if err != nil {
			return err
		}
		config.Password = password.Reveal()
		config.RuntimeParams = map[string]string{"application_name": "coffer-guest", "client_encoding": "UTF8", "default_transaction_read_only": "on"}
		conn, err := pgconn.ConnectConfig(ctx, config)
		if err != nil {
			return failed(err, "cannot log in to ask")
		}
		s := &session{conn}
		defer s.close()
		var rows datastores.Answer
		result := conn.ExecParams(ctx, q.Query.Reveal(), nil, nil, nil, nil)
		for result.NextRow() {
			if err := rows.Row(result.Values()...); err != nil {
				return err
			}
		}
		if _, err := result.Close(); err != nil {
			if said := (*pgconn.PgError)(nil); errors.As(err, &said) {
				return refused // the text may quote the question
			}
			return err
		}
		answer = rows.String()
		return nil
	})
	return answer, err
}
