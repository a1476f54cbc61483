package postgresql

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferdb/coffer/datastores"
)

// TestMadeByTwoAtOnce: whoever is second to make a database or a role at the same moment is told so as if it had been there before; a row of
// a tenant's own that is there twice is told to nobody.
func TestMadeByTwoAtOnce(t *testing.T) {
	var told *datastores.Error
	err := failed(&pgconn.PgError{Code: "23505", SchemaName: "pg_catalog", TableName: "pg_database", Message: "duplicate key"}, "cannot create database %q", "cut")
	if !errors.As(err, &told) || told.Kind != datastores.Exists {
		t.Errorf("a database: %v", err)
	}
	err = failed(&pgconn.PgError{Code: "23505", SchemaName: "public", TableName: "orders", Detail: "Key (card)=(4711) already exists."}, "cannot restore")
	if !errors.As(err, &told) || told.Kind != datastores.Internal || strings.Contains(told.Error(), "4711") {
		t.Errorf("a row: %v", err)
	}
}
