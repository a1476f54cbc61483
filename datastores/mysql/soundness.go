package mysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/cofferdb/coffer/datastores"
)

// askUser is who puts a tenant's question, as long as it asks.
const askUser = "coffer-question"

const tenantSchemas = "NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"

// Check implements [datastores.Checker]: CHECK TABLE of every table reads all of its pages, rows and indexes, and holds them against each
// other. It is asked one table at a time, so that a server that ends over one says which.
func (m *Manager) Check(ctx context.Context) (datastores.CheckReport, error) {
	report := datastores.CheckReport{By: "CHECK TABLE", Unit: "tables"}
	err := m.local(func(db *sql.DB) error {
		var tables []string
		err := query(ctx, db, func(scan func(...any) error) error {
			var schema, name string
			err := scan(&schema, &name)
			tables = append(tables, identifier(schema)+"."+identifier(name))
			return err
		}, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA "+tenantSchemas+" ORDER BY 1, 2")
		if err != nil {
			return err
		}
		for _, table := range tables {
			whole, err := checkTable(ctx, db, table)
			if err != nil {
				return failed(err, "cannot check table %s", table)
			}
			report.Objects++
			if !whole {
				report.Problems = append(report.Problems, "table "+table+" is damaged")
			}
			if len(report.Problems) == datastores.MaxProblems {
				return nil
			}
		}
		return nil
	})
	return report, failed(err, "cannot check the tables")
}

// checkTable reports whether the server finds a table whole, or cannot tell of its engine.
func checkTable(ctx context.Context, db *sql.DB, table string) (whole bool, err error) {
	whole = true
	err = query(ctx, db, func(scan func(...any) error) error {
		var name, op, kind, said string
		err := scan(&name, &op, &kind, &said)
		if strings.EqualFold(kind, "error") || strings.EqualFold(kind, "status") && said == "Operation failed" {
			whole = false
		}
		return err
	}, "CHECK TABLE "+table)
	return whole, err
}

// Ask implements [datastores.Checker]. The question is one statement of SQL, put by an account that may read tenants' databases. Meanwhile the
// server logs no statement.
func (m *Manager) Ask(ctx context.Context, q datastores.Question) (answer string, err error) {
	password := datastores.NewSecret(rand.Text())
	asker := account{askUser, "localhost"}
	err = m.local(func(db *sql.DB) (err error) {
		statements := []string{
			"DROP USER IF EXISTS " + asker.sql(), "CREATE USER " + asker.sql() + " IDENTIFIED BY " + text(password.Reveal()),
			"SET GLOBAL slow_query_log = OFF", "SET GLOBAL general_log = OFF",
		}
		err = query(ctx, db, func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			statements = append(statements, "GRANT SELECT ON "+identifier(pattern(name))+".* TO "+asker.sql())
			return err
		}, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME "+tenantSchemas)
		if err != nil {
			return failed(err, "cannot read the names of the databases")
		}
		var slow, general string
		if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.slow_query_log, @@GLOBAL.general_log").Scan(&slow, &general); err != nil {
			return failed(err, "cannot read what is logged")
		}
		defer func() {
			err = errors.Join(err, execute(context.WithoutCancel(ctx), db, "DROP USER IF EXISTS "+asker.sql(),
				"SET GLOBAL slow_query_log = "+slow, "SET GLOBAL general_log = "+general))
		}()
		if err := execute(ctx, db, statements...); err != nil {
			return failed(err, "cannot make the account that asks")
		}
		answer, err = m.ask(ctx, password, q)
		return err
	})
	return answer, err
}

func (m *Manager) ask(ctx context.Context, password datastores.Secret, q datastores.Question) (string, error) {
	db, err := m.connectAs(askUser, password, q.Database, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(ctx, q.Query.Reveal())
	if err != nil {
		return "", refusedQuestion(err)
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return "", refusedQuestion(err)
	}
	columns, scanned := make([]sql.RawBytes, len(names)), make([]any, len(names))
	for i := range columns {
		scanned[i] = &columns[i]
	}
	var answer datastores.Answer
	for rows.Next() {
		if err := rows.Scan(scanned...); err != nil {
			return "", refusedQuestion(err)
		}
		texts := make([][]byte, len(columns))
		for i, c := range columns {
			texts[i] = c
		}
		if err := answer.Row(texts...); err != nil {
			return "", err
		}
	}
	return answer.String(), refusedQuestion(rows.Err())
}

// refusedQuestion is the error of a question; what the server says of it may quote it.
func refusedQuestion(err error) error {
	if said := (*mysql.MySQLError)(nil); errors.As(err, &said) {
		return datastores.Errorf(datastores.Invalid, "the server does not take the question: it must be one statement that only reads (%d)", said.Number)
	}
	if err != nil {
		return fmt.Errorf("cannot ask the server: %w", err)
	}
	return nil
}
