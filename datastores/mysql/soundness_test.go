package mysql

import (
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// TestQuestion asks as a tenant would: what is true is answered, and who asks can change nothing, nor read what is no tenant's.
func TestQuestion(t *testing.T) {
	m := prepared(t)
	tenant(t, m)
	_, err := write(t.Context(), loginTo(m), 20, 30)
	must(t, err)
	ask := func(query string) (string, error) {
		return m.Ask(t.Context(), datastores.Question{Database: "shop", Query: datastores.NewSecret(query)})
	}
	got, err := ask("SELECT 7, NULL, 'two words'")
	if err != nil || got != "7\tNULL\ttwo words\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err = ask("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'"); err != nil || got == "0\n" {
		t.Errorf("tables: %q, %v", got, err)
	}
	for _, no := range []string{
		"CREATE TABLE secretword (n INT)", "SELECT secretword", "SELECT authentication_string FROM mysql.user", "SELECT 1; SELECT 2",
		"SELECT LOAD_FILE('/etc/hostname') IS NOT NULL FROM nowhere",
	} {
		_, err := ask(no)
		wantKind(t, err, datastores.Invalid)
		if err != nil && strings.Contains(err.Error(), "secretword") {
			t.Errorf("the refusal quotes the question: %v", err)
		}
	}
	users, err := m.ListUsers(t.Context())
	must(t, err)
	for _, u := range users {
		if u.Name == askUser {
			t.Error("who asked is still there")
		}
	}
}
