package postgresql

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// install makes the data directory, with the administration account in it and no other.
func (m *Manager) install(ctx context.Context) error {
	return m.data.Make(dataDir, func(made *volume.Tree) error { return m.initdb(ctx, made.Path(".")) })
}

func (m *Manager) initdb(ctx context.Context, dir string) error {
	_, err := m.run(ctx, []string{
		m.program("initdb"), "-D", dir, "-U", adminUser, "-E", "UTF8", "--locale=C.UTF-8",
		"--auth=reject", "--data-checksums", // of pages, which pg_rewind needs, too
		"--no-instructions",
		"--no-sync", // done once, when it is complete
	}, service.RunOptions{})
	if err != nil {
		return fmt.Errorf("cannot initialise the data directory: %w", err)
	}
	return nil
}

// swap gives the data directory, when there is one, the name away, and its own name to from. After a guest was killed in
// between it can be called again.
func (m *Manager) swap(from, away string) error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	if err := tree.Rename(dataDir, away); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := tree.Rename(from, dataDir); err != nil {
		return err
	}
	return tree.Sync(".")
}

// furnish makes what the guest needs, where it is missing: roles, its home, and the rights of replicas there. It closes the
// databases that initdb leaves open to everybody, and puts the owners of tenants' databases in order. A server that follows
// another has all that from there.
func (m *Manager) furnish(ctx context.Context, s *session) error {
	following, err := s.one(ctx, "SELECT pg_is_in_recovery()")
	if err != nil || following.bool() {
		return failed(err, "cannot ask whether the server follows another")
	}
	found, err := roleExists(ctx, s, replicasRole)
	if err == nil && !found {
		err = s.exec(ctx, "CREATE ROLE "+replicasRole+" NOLOGIN")
	}
	if err == nil && found { // no list shows it: whoever could make it a superuser, here or where a backup was made, could come back as it
		err = s.exec(ctx, plainRole)
	}
	if err != nil {
		return failed(err, "cannot make the role %s", replicasRole)
	}
	home, err := s.one(ctx, "SELECT true FROM pg_database WHERE datname = $1", homeDatabase)
	if err == nil && !home.bool() {
		err = s.exec(ctx, "CREATE DATABASE "+homeDatabase+" TEMPLATE template0")
	}
	if err != nil {
		return failed(err, "cannot make the database %s", homeDatabase)
	}
	if err := m.dropDumpUser(ctx, s); err != nil { // of a guest that was killed
		return failed(err, "cannot drop the role %s", dumpUser)
	}
	// Rights on functions are a database's own: the session may be in another one, since home was missing.
	err = m.withIn(ctx, homeDatabase, func(inside *session) error { return inside.exec(ctx, closing) })
	if err == nil {
		err = s.exec(ctx, "REVOKE ALL ON DATABASE template1 FROM PUBLIC")
	}
	if is(err, stateNoDatabase) { // root has dropped template1
		err = nil
	}
	if err != nil {
		return failed(err, "cannot close the server's own databases")
	}
	m.adopt(ctx, s)
	return nil
}

// plainRole has the role of replicas be nothing but that, when it is more. A server that has it so writes nothing.
const plainRole = `DO $$ BEGIN
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = '` + replicasRole + `' AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)) THEN
		ALTER ROLE ` + replicasRole + ` NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;
	END IF;
END $$`

// closing also lets the accounts of replicas do what pg_rewind does on their source: see its manual.
const closing = `REVOKE ALL ON DATABASE postgres FROM PUBLIC;
	GRANT CONNECT ON DATABASE postgres TO ` + replicasRole + `;
	GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean),
		pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO ` + replicasRole
