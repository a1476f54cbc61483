package mysql

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"sync"
	"time"
)

// programGlobals are the values with which a session of a program of the server must begin, whatever tenants have set for every
// session: a dump would have the first rows of each table only, end when whoever takes it is slow, or not be loaded again.
func programGlobals() map[string]string {
	const day = "86400"
	return map[string]string{
		"sql_select_limit":   "18446744073709551615",
		"max_allowed_packet": "1073741824",
		"autocommit":         "1",
		"wait_timeout":       day,
		"net_read_timeout":   day,
		"net_write_timeout":  day,
	}
}

// withGlobals runs do, during which sessions begin with the values of [programGlobals]. They are what they were when do returns, or
// has called begun: then its sessions are there. If the guest is killed before, the next start of the server brings them back.
func (m *Manager) withGlobals(ctx context.Context, do func(begun func()) error) error {
	return m.session(func(db *sql.DB) error {
		before := map[string]string{}
		begun := sync.OnceFunc(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockSeconds*time.Second)
			defer cancel()
			for name, value := range before {
				if err := execute(ctx, db, "SET GLOBAL "+name+" = "+value); err != nil {
					m.env.Log.Warn("a variable stays as a program needed it", "variable", name, "err", err)
				}
			}
		})
		defer begun()
		wanted := programGlobals()
		for _, name := range slices.Sorted(maps.Keys(wanted)) {
			var was string
			if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL."+name).Scan(&was); err != nil {
				return failed(err, "cannot read %s", name)
			}
			if err := execute(ctx, db, "SET GLOBAL "+name+" = "+wanted[name]); err != nil {
				return failed(err, "cannot set %s", name)
			}
			before[name] = was
		}
		return do(begun)
	})
}
