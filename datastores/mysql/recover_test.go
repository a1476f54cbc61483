package mysql

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// TestKilledBetweenTwoLogs: a server that was killed when it had closed a binary log and had no other yet starts, and has what was
// acknowledged. Here the log is marked as closed by hand. The last transaction is in the log and, in the storage engine, prepared.
func TestKilledBetweenTwoLogs(t *testing.T) {
	t.Run("10.11", func(t *testing.T) {
		t.Parallel()
		killedBetweenTwoLogs(t, prepared(t))
	})
	t.Run("11.8", func(t *testing.T) {
		t.Parallel()
		if datastoretest.InImage(t, image) {
			killedBetweenTwoLogs(t, preparedNewest(t))
		}
	})
}

func killedBetweenTwoLogs(t *testing.T, m *Manager) {
	ctx := t.Context()
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, execute(ctx, admin(t, m), "CREATE TABLE shop.t (n INT PRIMARY KEY)"))
	rows := 0
	for err := error(nil); rows < 3 && !isUndecided(err); err = m.launch(ctx) { // the engine may be quicker: 11.8 mostly is
		must(t, err)
		must(t, execute(ctx, admin(t, m), fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", rows)))
		rows++
		must(t, kill(ctx, m))
		closeBinlog(t, m)
	}
	must(t, m.Start(ctx))
	must(t, m.session(func(db *sql.DB) error {
		var n int
		err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM shop.t").Scan(&n)
		if err == nil && n != rows {
			t.Errorf("%d rows of %d are there", n, rows)
		}
		return err
	}))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "more"}))
	must(t, m.Stop(ctx))
	must(t, m.Start(ctx))
}

func closeBinlog(t *testing.T, m *Manager) {
	t.Helper()
	logs, err := filepath.Glob(m.path("data/binlog.0*"))
	must(t, err)
	f, err := os.OpenFile(logs[len(logs)-1], os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{0}, eventFlagsAt)
	must(t, err)
	must(t, f.Close())
}
