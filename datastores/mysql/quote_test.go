package mysql

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/datastores"
)

func TestNativeHash(t *testing.T) {
	// SELECT PASSWORD('password')
	if got := nativeHash(datastores.NewSecret("password")); got != "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19" {
		t.Error(got)
	}
}

// hellish draws names in which what means something to a server, a shell or a terminal is frequent.
var hellish = rapid.OneOf(
	rapid.StringN(0, 70, -1),
	rapid.StringOfN(rapid.RuneFrom([]rune("ab_%\\'\"`;#@?- -*/.\x00\n\x1a$(){}é漢🔑\u200b\u00a0%s")), 0, 12, -1),
	rapid.SampledFrom([]string{
		"a`b", "a'b", `a\`, "#mysql50#x", "a/../b", "..", ".", "x\x00y", "MYSQL", "Mysql", "a b", "a@b", "-v", "--help",
		"a\u0301", "\xff\xfe", "ａ", "lost+found", "x; DROP DATABASE mysql", "a%b", strings.Repeat("é", 64), strings.Repeat("a", 64),
	}),
)

// A name is created exactly as it is, or refused as Invalid.
func testNamesFromHell(t *testing.T, m *Manager) {
	created, own := map[string]bool{}, admin(t, m)
	rapid.Check(t, func(r *rapid.T) {
		name := hellish.Draw(r, "name")
		ctx := t.Context()
		_ = m.DeleteDatabase(ctx, name) // an attempt that failed may have left it, and hidden its own reason
		_ = m.DeleteUser(ctx, name, "%")
		switch err := makeDatabase(ctx, m, datastores.Database{Name: name}); {
		case err != nil:
			wantKind(r, err, datastores.Invalid)
		default:
			if err := requireDatabases(ctx, own, []string{name}); err != nil {
				r.Errorf("created as another: %v", err)
			}
			must(r, m.DeleteDatabase(ctx, name))
		}
		user := datastores.User{Name: name, Password: secret(name + "x")}
		switch err := makeUser(ctx, m, user); {
		case err != nil:
			wantKind(r, err, datastores.Invalid)
		default:
			created[name] = true
			if _, err := m.GetUser(ctx, name, ""); err != nil {
				r.Errorf("created as another: %v", err)
			}
			theirs, err := login(t, m, name, name+"x", "")
			if err != nil {
				r.Errorf("cannot log in: %v", err)
			}
			_ = theirs.Close() // the server does not take one for each name
			must(r, m.DeleteUser(ctx, name, "%"))
		}
	})
	if len(created) == 0 {
		t.Error("every name was refused")
	}
}

// The quoting alone, below the rules, must carry whatever the server can hold.
func testQuoting(t *testing.T, m *Manager) {
	db := admin(t, m)
	rapid.Check(t, func(r *rapid.T) {
		s := hellish.Draw(r, "s")
		if !utf8.ValidString(s) {
			r.Skip()
		}
		var got string
		must(r, db.QueryRow("SELECT "+text(s)).Scan(&got))
		if got != s {
			r.Errorf("text %q became %q", s, got)
		}
		if strings.ContainsFunc(s, func(c rune) bool { return c == 0 || c > 0xFFFF }) || utf8.RuneCountInString(s) > 62 {
			return
		}
		s = "a" + s + "z" // of a column's name the server trims blanks
		rows, err := db.Query("SELECT 1 AS " + identifier(s))
		must(r, err)
		columns, err := rows.Columns()
		must(r, err)
		must(r, rows.Close())
		if !slices.Equal(columns, []string{s}) {
			r.Errorf("identifier %q became %q", s, columns)
		}
	})
}
