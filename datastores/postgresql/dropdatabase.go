package postgresql

import (
	"context"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

// DeleteDatabase implements [datastores.Databases]. Whoever uses it is thrown out. A database that cannot be deleted is as
// before, and the answer names what is in the way.
func (m *Manager) DeleteDatabase(ctx context.Context, name string) error {
	doing := fmt.Sprintf("cannot delete database %q", name)
	return m.with(ctx, func(s *session) error {
		if err := requireDatabases(ctx, s, []string{name}); err != nil {
			return err
		}
		if err := requireUnused(ctx, s, name, doing); err != nil {
			return err
		}
		owner, err := s.one(ctx, "SELECT owner_name FROM "+owned+" d WHERE datname = $1", name)
		if err == nil {
			err = endSessions(ctx, s, "datname = $1", name)
		}
		if err == nil {
			err = s.exec(ctx, "DROP DATABASE "+identifier(name)+" WITH (FORCE)")
		}
		if is(err, stateInUse) { // by somebody who came meanwhile
			if named := requireUnused(ctx, s, name, doing); named != nil {
				return named
			}
		}
		if err == nil && owner != nil {
			if err := dropIdle(ctx, s, owner.String()); err != nil { // the next start tries again
				m.env.Log.Warn("cannot drop the owner role of a database that is deleted", "role", owner.String(), "err", err)
			}
		}
		return failed(err, "%s", doing)
	})
}

// obstacles are what keeps a database from being dropped and does not end with its tenants' sessions; $1 is its name.
const obstacles = `SELECT 'the prepared transaction ' || quote_literal(gid) || ' is open in it', 'end it with COMMIT PREPARED or ROLLBACK PREPARED'
		FROM pg_prepared_xacts WHERE database = $1
	UNION ALL SELECT 'the subscription ' || quote_ident(subname) || ' is in it', 'drop that first'
		FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = $1
	UNION ALL SELECT 'the replication slot ' || quote_ident(slot_name) || ' reads it for the server process ' || active_pid, 'end that first'
		FROM pg_replication_slots WHERE database = $1 AND active
	UNION ALL SELECT 'it is a template', 'make it none with ALTER DATABASE first' FROM pg_database WHERE datname = $1 AND datistemplate`

// requireUnused returns Conflict, before anything is changed, when something has to go first that only a person may end.
func requireUnused(ctx context.Context, s *session, name, doing string) error {
	rows, err := s.query(ctx, obstacles, name)
	if err != nil || len(rows) == 0 {
		return failed(err, "%s", doing)
	}
	var said []string
	for _, row := range rows {
		said = append(said, fmt.Sprintf("%s (%s)", row[0], row[1]))
	}
	return datastores.Errorf(datastores.Conflict, "%s: %s", doing, datastores.FirstOf(said))
}
