package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
)

// recorded stands for a server that is nowhere to be had: it answers each statement with one value that the test gives, and
// remembers it.
type recorded struct {
	answers map[string]string
	said    []string
}

func (r *recorded) Connect(context.Context) (driver.Conn, error) { return recordedConn{r}, nil }
func (r *recorded) Driver() driver.Driver                        { return nil }

type recordedConn struct{ *recorded }

func (recordedConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (recordedConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (recordedConn) Close() error                        { return nil }

func (c recordedConn) QueryContext(_ context.Context, statement string, _ []driver.NamedValue) (driver.Rows, error) {
	c.said = append(c.said, statement)
	answer, ok := c.answers[statement]
	if !ok {
		return nil, errors.New("nobody has said what the answer is to " + statement)
	}
	return &oneValue{answer: answer}, nil
}

type oneValue struct {
	answer string
	read   bool
}

func (*oneValue) Columns() []string { return []string{"value"} }
func (*oneValue) Close() error      { return nil }
func (v *oneValue) Next(row []driver.Value) error {
	if v.read {
		return io.EOF
	}
	row[0], v.read = v.answer, true
	return nil
}

func TestHistoriesOfMySQL(t *testing.T) {
	ctx, d := t.Context(), oracleDialect{"9.7"}
	mine, theirs := &recorded{answers: map[string]string{
		"SELECT @@GLOBAL.gtid_executed":                        "u:1-5,\nv:1-2",
		"SELECT GTID_SUBTRACT('u:1-5,\nv:1-2', 'u:1-9')":       "v:1-2",
		"SELECT GTID_SUBTRACT('u:1-5,\nv:1-2', 'u:1-9,v:1-2')": "",
	}}, &recorded{answers: map[string]string{"SELECT @@GLOBAL.gtid_executed": "u:1-9"}}
	own, source := sql.OpenDB(mine), sql.OpenDB(theirs)
	defer func() { _, _ = own.Close(), source.Close() }()

	p, err := d.position(ctx, own)
	must(t, err)
	if diff := cmp.Diff(datastores.Position{ID: "u:1-5,v:1-2", Count: 7}, p); diff != "" {
		t.Error(diff)
	}
	_, err = d.startAtOwn(ctx, own, source)
	wantKind(t, err, datastores.Conflict)
	theirs.answers["SELECT @@GLOBAL.gtid_executed"] = "u:1-9,v:1-2"
	start, err := d.startAtOwn(ctx, own, source)
	must(t, err)
	if len(start) > 0 || len(theirs.said) != 2 {
		t.Errorf("start %q; the source was asked %q", start, theirs.said)
	}
}

func TestHistoriesOfMariaDB(t *testing.T) {
	const (
		position = "SELECT CONCAT(@@GLOBAL.gtid_binlog_pos, ',', @@GLOBAL.gtid_slave_pos)"
		state    = "SELECT CONCAT(@@GLOBAL.gtid_binlog_state, ',', @@GLOBAL.gtid_slave_pos)"
	)
	for name, row := range map[string]struct {
		mine, theirs, start string
		diverged            bool
	}{
		"nothing yet":                     {",", ",", "SET GLOBAL gtid_slave_pos = ''", false},
		"a replica that is behind":        {"0-1-90,0-1-90", "0-1-100,", "SET GLOBAL gtid_slave_pos = '0-1-90'", false},
		"a source until now":              {"0-1-100,", "0-1-100,0-2-110,0-1-100", "SET GLOBAL gtid_slave_pos = '0-1-100'", false},
		"a source that was ahead":         {"0-1-101,", "0-1-100,0-2-110,0-1-100", "", true},
		"a source of which it is unknown": {"0-3-5,", "0-1-100,", "", true},
		"new from a backup":               {",0-1-100", ",0-1-100", "SET GLOBAL gtid_slave_pos = '0-1-100'", false},
		"what others log of their own":    {"0-1-90,7-7-1,0-1-90", "0-1-100,8-8-4,", "SET GLOBAL gtid_slave_pos = '0-1-90,8-8-4,7-7-1'", false},
	} {
		own, source := sql.OpenDB(&recorded{answers: map[string]string{position: row.mine}}), sql.OpenDB(&recorded{answers: map[string]string{state: row.theirs}})
		start, err := mariadbDialect{}.startAtOwn(t.Context(), own, source)
		_, _ = own.Close(), source.Close()
		if row.diverged {
			wantKind(t, err, datastores.Conflict)
			continue
		}
		if diff := cmp.Diff([]string{row.start}, start); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}
