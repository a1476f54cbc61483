package mysql

import (
	"context"
	"database/sql"
	"strings"
)

// eventScheduler is the parameter with which a tenant has the events of a server run. It holds where the server is a source; a
// replica runs none, for its source does.
const eventScheduler = "event_scheduler"

// What follows is MariaDB's: it keeps events in a table. A replica stores every event that reaches it as SLAVESIDE_DISABLED,
// those that a tenant has disabled too, so it could not tell them apart when it becomes the source.

// tellDisabledEvents has replicas know which events a tenant has disabled, or have run for the last time, when the source has
// not told them before. A change of the table itself is logged as it is and not taken for an event's change; the originator 0
// says that it was made, until somebody changes the event.
func (m *Manager) tellDisabledEvents(ctx context.Context) error {
	if m.variant.family != "mariadb" {
		return m.session(func(db *sql.DB) error {
			return failed(tellOracleEvents(ctx, db), "cannot tell replicas which events are disabled")
		})
	}
	return m.sessionWith(map[string]string{"gtid_domain_id": "0"}, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "UPDATE mysql.event SET status = 'DISABLED', originator = 0, created = created "+
			"WHERE status <> 'ENABLED' AND originator <> 0")
		return failed(err, "cannot tell replicas which events are disabled")
	})
}

// ownEvents makes the events that came from a source the server's own: those that were enabled there are enabled here, and of the
// others the scheduler hears that they are not. Replicas of this server have them as they need them.
func (m *Manager) ownEvents(ctx context.Context) error {
	if m.variant.family != "mariadb" {
		return m.local(func(db *sql.DB) error {
			return failed(ownOracleEvents(ctx, db), "cannot make the events that came from a source the server's own")
		})
	}
	return m.local(func(db *sql.DB) error {
		var all []event
		err := query(ctx, db, func(scan func(...any) error) error {
			var e event
			err := scan(&e.database, &e.name, &e.definer, &e.status, &e.charset, &e.collation)
			all = append(all, e)
			return err
		}, "SELECT db, name, definer, status, character_set_client, collation_connection FROM mysql.event WHERE status <> 'ENABLED'")
		if err != nil {
			return failed(err, "cannot list events")
		}
		for _, e := range all {
			if err := e.own(ctx, db); err != nil {
				return failed(err, "cannot make event %q of database %q the server's own", e.name, e.database)
			}
		}
		return nil
	})
}

// event is a row of mysql.event.
type event struct{ database, name, definer, status, charset, collation string }

// own says who defines the event, and restores what it was created with: by default both become the session's.
func (e event) own(ctx context.Context, db *sql.DB) error {
	become := " DISABLE"
	if e.status == "SLAVESIDE_DISABLED" {
		become = " ENABLE"
	}
	at := strings.LastIndexByte(e.definer, '@')
	definer := account{e.definer[:max(at, 0)], e.definer[at+1:]}
	return execute(ctx, db,
		"ALTER DEFINER = "+definer.sql()+" EVENT "+identifier(e.database)+"."+identifier(e.name)+become,
		"UPDATE mysql.event SET created = created, character_set_client = "+text(e.charset)+", collation_connection = "+text(e.collation)+
			" WHERE db = "+text(e.database)+" AND name = "+text(e.name))
}
