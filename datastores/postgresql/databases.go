package postgresql

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
)

// halfMade is the connection limit of a database in the making: nobody but the guest gets in, and a guest that was killed
// knows it by that.
const halfMade = "0"

// CreateDatabase implements [datastores.Databases]. Nobody may use it but who is granted access, see owners.go. Without character
// set and collation it is a copy of template1.
func (m *Manager) CreateDatabase(ctx context.Context, database datastores.Database) error {
	return m.with(ctx, func(s *session) error {
		limit, err := s.one(ctx, "SELECT datconnlimit::text FROM pg_database WHERE datname = $1", database.Name)
		if err != nil {
			return failed(err, "cannot look for database %q", database.Name)
		}
		if limit != nil && limit.String() != halfMade {
			return datastores.Errorf(datastores.Exists, "there is a database %q already", database.Name)
		}
		if limit == nil {
			err = s.exec(ctx, createStatement(database))
		}
		if is(err, stateUndefined, stateWrongKind) { // of an encoding, a locale
			return datastores.Errorf(datastores.Invalid, "cannot create database %q: there is no such character set or collation: %v", database.Name, err)
		}
		if err == nil {
			err = m.open(ctx, database.Name)
		}
		return failed(err, "cannot create database %q", database.Name)
	})
}

func createStatement(database datastores.Database) string {
	statement := "CREATE DATABASE " + identifier(database.Name) + " CONNECTION LIMIT " + halfMade
	if database.CharacterSet != "" {
		statement += " ENCODING " + text(database.CharacterSet)
	}
	if database.Collate != "" {
		statement += " LC_COLLATE " + text(database.Collate) + " LC_CTYPE " + text(database.Collate)
	}
	if database.CharacterSet != "" || database.Collate != "" {
		statement += " TEMPLATE template0" // the only one that may have others than its copy
	}
	return statement
}

// open makes a half made database whole.
func (m *Manager) open(ctx context.Context, name string) error {
	return m.withIn(ctx, name, func(inside *session) error {
		_, err := own(ctx, inside, name, "REVOKE ALL ON DATABASE "+identifier(name)+" FROM PUBLIC;"+
			"ALTER DATABASE "+identifier(name)+" CONNECTION LIMIT -1;")
		return err
	})
}

// ListDatabases implements [datastores.Databases].
func (m *Manager) ListDatabases(ctx context.Context) (all []datastores.Database, err error) {
	err = m.with(ctx, func(s *session) error {
		rows, err := s.query(ctx, "SELECT datname, pg_encoding_to_char(encoding), datcollate FROM pg_database")
		for _, row := range rows {
			all = append(all, databaseOf(row))
		}
		return failed(err, "cannot list databases")
	})
	return all, err
}

// databaseOf reads name, encoding and collation.
func databaseOf(row []value) datastores.Database {
	return datastores.Database{Name: row[0].String(), CharacterSet: row[1].String(), Collate: row[2].String()}
}

// requireDatabases returns NotFound for the first name that is not a database's.
func requireDatabases(ctx context.Context, s *session, names []string) error {
	for _, name := range names {
		found, err := s.one(ctx, "SELECT true FROM pg_database WHERE datname = $1", name)
		if err != nil {
			return failed(err, "cannot look for database %q", name)
		}
		if !found.bool() {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", name)
		}
	}
	return nil
}
