package postgresql

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// taken makes a backup; parent may be nil.
func taken(t *testing.T, m *Manager, strategy int, parent *datastores.BackupLink) (datastores.BackupLink, error) {
	t.Helper()
	var stream bytes.Buffer
	reply, err := m.BackupStrategies()[strategy].Backup(t.Context(), datastores.BackupRequest{
		ID: "b", Parent: parent, Output: &stream, Expect: func(int64) {},
	})
	return datastores.BackupLink{ID: "b", Meta: reply.Meta, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(stream.Bytes())), nil
	}}, err
}

// Whatever has gone between a parent and now that cannot be bridged is said, and what to do.
func TestIncrementalWithoutItsLog(t *testing.T) {
	o := DefaultOptions()
	o.WALKeepMB = 32
	m := preparedWith(t, o, quietly())
	full, err := taken(t, m, 0, nil)
	must(t, err)
	s := admin(t, m)
	for range 6 {
		must(t, s.exec(t.Context(), "SELECT pg_logical_emit_message(false, 'x', 'y')"))
		must(t, s.exec(t.Context(), "SELECT pg_switch_wal()"))
	}
	must(t, s.exec(t.Context(), "CHECKPOINT"))
	must(t, s.exec(t.Context(), "CHECKPOINT"))
	_, err = taken(t, m, 0, &full)
	wantKind(t, err, datastores.Conflict)

	full, err = taken(t, m, 0, nil)
	must(t, err)
	var meta backupMeta
	must(t, json.Unmarshal(full.Meta, &meta))
	meta.Timeline++
	full.Meta, err = json.Marshal(meta)
	must(t, err)
	_, err = taken(t, m, 0, &full)
	wantKind(t, err, datastores.Conflict)
}
