package postgresql

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
	"unicode/utf8"
)

// Access to a database means the same as in the other engines: whoever has it reads, writes and changes what anybody with
// access has made there. So each database has a role that owns its schema public and what tenants make in it. Those with
// access are its members, and work as that role in this database. The database itself stays the guest's.

const (
	// reservedPrefix begins the names of the guest's roles, serversPrefix those of the server's own.
	reservedPrefix = "os_"
	serversPrefix  = "pg_"
	ownerPrefix    = reservedPrefix + "owner_"

	// ownerSetting is a setting of the database that names its owner role. It goes where the database goes, under whatever
	// name: into copies, backups and newer versions. Only a superuser changes it. See docs/adr/0020.
	ownerSetting = "coffer.owner"

	// formerOwner owns what users had left whom an earlier version deleted.
	formerOwner = "os_orphans"
)

// owned are all databases, each with its owner role; NULL for one that has none.
const owned = `(SELECT d.*, o.oid AS owner, o.rolname AS owner_name FROM pg_database d
	LEFT JOIN pg_db_role_setting t ON t.setdatabase = d.oid AND t.setrole = 0
	LEFT JOIN pg_roles o ON '` + ownerSetting + `=' || o.rolname = ANY (t.setconfig))`

// strays own something in a database that its owner role should: members who chose to work as themselves, deleted users of an
// earlier version, owner roles of a database that this one is a copy of. $1 is the database, $2 its owner role. What is a superuser's, or
// of one to whom root has given a database or a tablespace, is left to root.
const strays = `SELECT DISTINCT r.rolname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
	WHERE s.dbid = $1::oid AND s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND r.oid IS DISTINCT FROM $2::oid AND NOT r.rolsuper
		AND NOT EXISTS (SELECT FROM pg_database x WHERE x.datdba = r.oid) AND NOT EXISTS (SELECT FROM pg_tablespace x WHERE x.spcowner = r.oid)
		AND (r.rolname = '` + formerOwner + `' OR starts_with(r.rolname, '` + ownerPrefix + `')
			OR EXISTS (SELECT FROM pg_auth_members g WHERE g.roleid = $2::oid AND g.member = r.oid))`

// ownerOf returns the owner role of a database. A database that has none, as when root has made it, gets it.
func (m *Manager) ownerOf(ctx context.Context, s *session, database string) (owner string, err error) {
	rows, err := s.query(ctx, "SELECT owner_name, has_database_privilege(owner, d.oid, 'CREATE') FROM "+owned+" d WHERE datname = $1", database)
	if err == nil && len(rows) == 1 && rows[0][1].bool() {
		return rows[0][0].String(), nil
	}
	if err == nil {
		err = m.withIn(ctx, database, func(inside *session) error {
			owner, err = own(ctx, inside, database, "")
			return err
		})
	}
	return owner, failed(err, "cannot make the owner of database %q", database)
}

// admitted are the users whom an earlier version granted access to the database $1: they may make schemas there. The second
// column is true for those who have no rights of their own beside: in the database, on what none of them owns, or on the whole server.
const admitted = `WITH l AS (SELECT r.* FROM pg_roles r WHERE ` + isUser + ` AND NOT r.rolsuper AND EXISTS (SELECT FROM pg_database d, aclexplode(d.datacl) a
		WHERE d.datname = $1 AND a.grantee = r.oid AND a.privilege_type = 'CREATE'))
	SELECT l.rolname, NOT (l.rolcreaterole OR l.rolcreatedb OR l.rolbypassrls
		OR EXISTS (SELECT FROM pg_auth_members g JOIN pg_roles o ON o.oid = g.roleid WHERE g.member = l.oid AND NOT starts_with(o.rolname, '` + ownerPrefix + `'))
		OR EXISTS (SELECT FROM pg_shdepend a WHERE a.dbid = (SELECT oid FROM pg_database WHERE datname = $1)
			AND a.refclassid = 'pg_authid'::regclass AND a.refobjid = l.oid AND a.deptype = 'a'
			AND NOT EXISTS (SELECT FROM pg_shdepend o JOIN pg_roles r ON r.oid = o.refobjid WHERE o.dbid = a.dbid AND o.classid = a.classid AND o.objid = a.objid
				AND o.refclassid = a.refclassid AND o.deptype = 'o' AND (r.rolname = '` + formerOwner + `' OR r.oid IN (SELECT oid FROM l)))))
	FROM l`

// own gives the session's database an owner role, unless it has one, and runs more, all or nothing. Those who have been admitted
// become members. One who has rights beside would lose them by working as the role: it goes on as itself, with the role's rights.
func own(ctx context.Context, inside *session, database, more string) (owner string, err error) {
	had, err := inside.one(ctx, "SELECT owner_name FROM "+owned+" d WHERE datname = $1", database)
	if err != nil {
		return "", err
	}
	statements := more
	if owner = had.String(); had == nil {
		if owner, err = freeOwner(ctx, inside, database); err != nil {
			return "", err
		}
		users, err := inside.query(ctx, admitted, database)
		if err != nil {
			return "", err
		}
		statements += "CREATE ROLE " + identifier(owner) + " NOLOGIN;" +
			"ALTER DATABASE " + identifier(database) + " SET " + ownerSetting + " = " + text(owner) + ";"
		for _, user := range users {
			if user[1].bool() {
				statements += grant(user[0].String(), database, owner)
			} else {
				statements += "GRANT " + identifier(owner) + " TO " + identifier(user[0].String()) + ";"
			}
		}
	}
	statements += "GRANT ALL ON DATABASE " + identifier(database) + " TO " + identifier(owner) + ";"
	public, err := inside.one(ctx, "SELECT true FROM pg_namespace WHERE nspname = 'public' AND nspowner IN (10, 'pg_database_owner'::regrole)")
	if public.bool() {
		statements += "ALTER SCHEMA public OWNER TO " + identifier(owner)
	}
	if err == nil {
		err = inside.exec(ctx, statements)
	}
	return owner, err
}

// freeOwner is a name for a new owner role: with the database's name in it, and unlike any other. Names may be long, and a
// database whose name is free again may live on under another.
func freeOwner(ctx context.Context, s *session, database string) (string, error) {
	const longest = 63
	name := ownerPrefix + database
	taken, err := s.one(ctx, "SELECT true FROM pg_roles WHERE rolname = $1", name)
	if err != nil || len(name) <= longest && !taken.bool() {
		return name, err
	}
	suffix := "_" + strings.ToLower(rand.Text()[:8])
	if cut := longest - len(suffix); cut < len(name) {
		for !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut]
	}
	return name + suffix, nil
}

// grant are the statements that give a user access. The right to connect is also the user's own: that is how access is listed.
func grant(user, database, owner string) string {
	return "GRANT CONNECT ON DATABASE " + identifier(database) + " TO " + identifier(user) + ";" +
		"GRANT " + identifier(owner) + " TO " + identifier(user) + ";" +
		"ALTER ROLE " + identifier(user) + " IN DATABASE " + identifier(database) + " SET role = " + text(owner) + ";"
}

// collect gives what strays own in the session's database to its owner role.
func collect(ctx context.Context, inside *session, owner string) error {
	own, err := inside.query(ctx, "SELECT d.oid, r.oid FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = $1", owner)
	if err != nil || len(own) == 0 {
		return err
	}
	names, err := inside.column(ctx, strays, own[0][0].String(), own[0][1].String())
	for _, name := range names {
		if err == nil {
			err = giveAway(ctx, inside, name, owner)
		}
	}
	return err
}

// adoption is how long a start may be held up by what it finds to put in order. What is left waits for the next one.
const adoption = time.Minute

// adopt puts the owners of databases in order after anything that the guest has not seen: an earlier version, a restore, root.
// Nobody is kept waiting for what cannot be done.
func (m *Manager) adopt(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, adoption)
	defer cancel()
	err := disown(ctx, s, formerOwner)
	if err != nil {
		m.env.Log.Warn("cannot give databases of deleted users to the guest; the next start tries again", "err", err)
	}
	// A database in the making is finished by whoever makes it.
	names, err := s.column(ctx, `SELECT datname FROM `+owned+` d WHERE datallowconn AND datconnlimit NOT IN (-2, `+halfMade+`) AND (
		NOT datistemplate AND datname NOT IN ('`+homeDatabase+`', '`+adminUser+`') AND (owner IS NULL OR NOT has_database_privilege(owner, d.oid, 'CREATE'))
		OR EXISTS (`+strings.NewReplacer("$1::oid", "d.oid", "$2::oid", "d.owner").Replace(strays)+`))`)
	for _, name := range names {
		failure := m.withIn(ctx, name, func(inside *session) error {
			owner, err := own(ctx, inside, name, "")
			if err == nil {
				err = collect(ctx, inside, owner)
			}
			return err
		})
		if failure != nil {
			m.env.Log.Warn("cannot give a database's tables to its owner role; the next start tries again", "database", name, "err", failure)
		}
	}
	if err == nil {
		err = dropStale(ctx, s)
	}
	if err != nil {
		m.env.Log.Warn("cannot look for databases without an owner role; the next start tries again", "err", err)
	}
}

// dropStale drops owner roles of which root has dropped the database, and the role that owned what deleted users left, once it owns
// nothing more.
func dropStale(ctx context.Context, s *session) error {
	names, err := s.column(ctx, `SELECT rolname FROM pg_roles r WHERE (rolname = '`+formerOwner+`' OR starts_with(rolname, '`+ownerPrefix+`'))
		AND NOT EXISTS (SELECT FROM `+owned+` d WHERE d.owner = r.oid)`)
	for _, name := range names {
		if err == nil {
			err = dropIdle(ctx, s, name)
		}
	}
	return err
}

// dropIdle drops a role that nobody needs any more. It stays when it owns something, by root's doing.
func dropIdle(ctx context.Context, s *session, name string) error {
	err := s.exec(ctx, "DROP ROLE IF EXISTS "+identifier(name))
	if is(err, stateDepended) {
		return nil
	}
	return err
}
