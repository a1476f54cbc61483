package postgresql

import (
	"context"
	"fmt"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
)

// Root may take the administration account from the guest: rename it, shut it out, take its rights, put another in its
// place. The server's first role has the oid 10 for ever, and a server in single-user mode takes whoever starts it for that
// role and asks for nothing. So there is a way back that nobody inside can close.

// rescue are the statements that give the account back, and the databases that the guest works in. Each is one line. One that
// fails is passed over: the last does when there is nothing to make.
const rescue = `UPDATE pg_catalog.pg_authid SET rolname = 'taken_' || oid WHERE rolname = '` + adminUser + `' AND oid <> 10;
UPDATE pg_catalog.pg_authid SET rolname = '` + adminUser + `', rolsuper = true, rolinherit = true, rolcreaterole = true, rolcreatedb = true, rolcanlogin = true, rolreplication = true, rolbypassrls = true, rolconnlimit = -1, rolpassword = NULL, rolvaliduntil = NULL WHERE oid = 10;
DELETE FROM pg_catalog.pg_db_role_setting WHERE setrole = 10;
UPDATE pg_catalog.pg_database SET datallowconn = true, datconnlimit = -1 WHERE datname IN ('` + homeDatabase + `', '` + otherDatabase + `') AND datconnlimit <> -2;
CREATE DATABASE ` + homeDatabase + ` TEMPLATE template0;
`

// takeBack makes the administration account what it was, by a run of the server in single-user mode. The server is stopped.
func (m *Manager) takeBack(ctx context.Context) error {
	var err error
	// Root may have dropped any of them; they are tried from the one that is the least likely to be gone.
	for _, database := range []string{"template0", otherDatabase, homeDatabase} {
		argv := append([]string{m.program("postgres"), "--single"}, m.argv()[1:]...)
		argv = append(argv, "-c", "logging_collector=off", database)
		if _, err = m.run(ctx, argv, service.RunOptions{Dir: m.path(dataDir), Stdin: strings.NewReader(rescue)}); err == nil {
			return nil
		}
	}
	return fmt.Errorf("cannot take the role %s back: %w", adminUser, err)
}
