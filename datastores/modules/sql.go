package modules

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/cofferdb/coffer/datastores"
)

// Statements are what a module of type sql has a server do.
type Statements struct {
	Database string // in which they run
	Text     string // in the server's own language; the first line is a comment
	Root     bool   // with the rights of root, or else with those of a user of that database alone
}

// databaseLine begins the first line of a module of type sql.
const databaseLine = "-- database:"

// SQL is the type of modules whose statements run once, in the database that their first line names, as "-- database: orders" does. run has a server do
// them by an account that is let into that database alone, and that nobody can log in as afterwards. What ran before it fails may stay. Neither
// its error nor any log may quote a statement: see [Refused].
func SQL(run func(context.Context, Statements) error) datastores.ModuleDriver {
	return datastores.ModuleDriver{
		Type: "sql", Once: true,
		Apply: func(ctx context.Context, m datastores.AppliedModule) (string, error) {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			s, err := statementsOf(m)
			if err == nil {
				err = run(ctx, s)
			}
			if own := (*datastores.Error)(nil); err != nil && !errors.As(err, &own) {
				err = datastores.Errorf(datastores.Internal, "the session ended before the statements did; those before may have run")
			}
			return "its statements have run; what they did stays when the module is removed", err
		},
		Remove: func(ctx context.Context, _ string) error { return ctx.Err() },
	}
}

func statementsOf(m datastores.AppliedModule) (Statements, error) {
	text := string(m.Contents)
	first, _, _ := strings.Cut(text, "\n")
	name, named := strings.CutPrefix(strings.TrimSpace(first), databaseLine)
	name = strings.TrimSpace(name)
	if !named || name == "" || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return Statements{}, datastores.Errorf(datastores.Invalid, "a module of type sql is text whose first line names the database: %s NAME", databaseLine)
	}
	return Statements{Database: name, Text: text, Root: m.Root}, nil
}

// Refused is the error of statements that the server does not take; code is the server's number for that.
func Refused(code string) error {
	return datastores.Errorf(datastores.Invalid, "the server has refused a statement with error %s; what ran before it and was not rolled back stays", code)
}
