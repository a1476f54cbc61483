package postgresql

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// TestQuestion asks as a tenant would: what is true is answered, and who asks can change nothing, nor read what is no tenant's.
func TestQuestion(t *testing.T) {
	m := prepared(t)
	must(t, m.CreateDatabase(t.Context(), datastores.Database{Name: "shop"}))
	ask := func(query string) (string, error) {
		return m.Ask(t.Context(), datastores.Question{Database: "shop", Query: datastores.NewSecret(query)})
	}
	if got, err := ask("SELECT 7, NULL, 'two words'"); err != nil || got != "7\tNULL\ttwo words\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, no := range []string{
		"CREATE TABLE secretword (n int)", "SELECT secretword", "SELECT rolpassword FROM pg_authid", "SELECT 1; SELECT 2",
		"SELECT pg_read_file('/etc/hostname')", "SET ROLE os_admin",
	} {
		_, err := ask(no)
		wantKind(t, err, datastores.Invalid)
		if err != nil && strings.Contains(err.Error(), "secretword") {
			t.Errorf("the refusal quotes the question: %v", err)
		}
	}
	_, err := m.Ask(t.Context(), datastores.Question{Database: "nowhere", Query: datastores.NewSecret("SELECT 1")})
	wantKind(t, err, datastores.Invalid)
	var left value
	must(t, m.with(t.Context(), func(s *session) (err error) {
		left, err = s.one(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname = '"+dumpUser+"'")
		return err
	}))
	if left.int() != 0 {
		t.Error("who asked is still there")
	}
}

// TestCheckFindsDamage has the server read a table of which a page was overwritten. The report names the table, and no row.
func TestCheckFindsDamage(t *testing.T) {
	m := prepared(t)
	var file value
	must(t, m.with(t.Context(), func(s *session) (err error) {
		if err := s.exec(t.Context(), "CREATE TABLE public.lines AS SELECT g AS n, repeat('secretword', 50) AS pad FROM generate_series(1, 2000) g"); err != nil {
			return err
		}
		file, err = s.one(t.Context(), "SELECT pg_relation_filepath('public.lines')")
		return err
	}))
	whole, err := m.Check(t.Context())
	if err != nil || len(whole.Problems) > 0 || whole.Objects == 0 || whole.Bytes < 1_000_000 {
		t.Errorf("whole: %+v, %v", whole, err)
	}
	must(t, m.Stop(t.Context()))
	f, err := os.OpenFile(filepath.Join(m.env.DataDir, dataDir, file.String()), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("nonsense"), 3*8192+4000)
	must(t, errors.Join(err, f.Close()))
	must(t, m.Start(t.Context()))
	report, err := m.Check(t.Context())
	if err != nil || len(report.Problems) != 1 || !strings.Contains(report.Problems[0], "public.lines") || strings.Contains(report.Problems[0], "secretword") {
		t.Errorf("damaged: %+v, %v", report, err)
	}
}
