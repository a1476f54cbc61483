package mysql

import (
	"context"
	"database/sql"
	"strings"
)

// disabledEvents is where Oracle's servers, of which nobody can write to the dictionary, keep what MariaDB's table of events says: those
// events that are disabled on the source. Replicas get it as they get everything.
const disabledEvents = "mysql.coffer_disabled_events"

// oracleEvents returns the names of events whose status is like a pattern, from their server.
func oracleEvents(ctx context.Context, db *sql.DB, status string) (all []event, err error) {
	err = query(ctx, db, func(scan func(...any) error) error {
		var e event
		err := scan(&e.database, &e.name, &e.definer, &e.status, &e.charset, &e.collation)
		all = append(all, e)
		return err
	}, "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, STATUS, CHARACTER_SET_CLIENT, COLLATION_CONNECTION FROM information_schema.EVENTS WHERE STATUS LIKE ?", status)
	return all, err
}

// toldEvents returns the events of the table, none where there is no table.
func toldEvents(ctx context.Context, db *sql.DB) (map[event]bool, error) {
	told := map[event]bool{}
	err := query(ctx, db, func(scan func(...any) error) error {
		var e event
		err := scan(&e.database, &e.name)
		told[e] = true
		return err
	}, "SELECT db, name FROM "+disabledEvents)
	if is(err, errNoTable) {
		return told, nil
	}
	return told, err
}

func (e event) key() event { return event{database: e.database, name: e.name} }

// tellOracleEvents brings the table to what is so.
func tellOracleEvents(ctx context.Context, db *sql.DB) error {
	now, err := oracleEvents(ctx, db, "DISABLED")
	if err != nil {
		return err
	}
	told, err := toldEvents(ctx, db)
	if err != nil {
		return err
	}
	var statements []string
	for _, e := range now {
		if told[e.key()] {
			delete(told, e.key())
			continue
		}
		statements = append(statements, "INSERT INTO "+disabledEvents+" VALUES ("+text(e.database)+", "+text(e.name)+")")
	}
	for e := range told {
		statements = append(statements, "DELETE FROM "+disabledEvents+" WHERE db = "+text(e.database)+" AND name = "+text(e.name))
	}
	if len(statements) == 0 {
		return nil
	}
	const table = "CREATE TABLE IF NOT EXISTS " + disabledEvents +
		" (db VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, PRIMARY KEY (db, name)) ENGINE = InnoDB"
	return execute(ctx, db, append([]string{table}, statements...)...)
}

// ownOracleEvents enables what came from a source and is not disabled there. A statement, not a table, says what an event was created with.
func ownOracleEvents(ctx context.Context, db *sql.DB) error {
	all, err := oracleEvents(ctx, db, "%SIDE%DISABLED")
	if err != nil {
		return err
	}
	told, err := toldEvents(ctx, db)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, e := range all {
		become := " ENABLE"
		if told[e.key()] {
			become = " DISABLE"
		}
		at := strings.LastIndexByte(e.definer, '@')
		definer := account{e.definer[:max(at, 0)], e.definer[at+1:]}
		for _, statement := range []string{
			"SET SESSION character_set_client = " + e.charset + ", collation_connection = " + e.collation,
			"ALTER DEFINER = " + definer.sql() + " EVENT " + identifier(e.database) + "." + identifier(e.name) + become,
		} {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
	}
	return nil
}
