package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// TestFullVolume fills a volume with binary logs until a statement waits. Calls say so at once, a stop ends, and whatever was
// acknowledged is there after a restart, and on a larger volume.
func TestFullVolume(t *testing.T) {
	t.Parallel()
	fullVolume(t, newManager(t, newEnv(t)), 260)
}

func TestFullVolumeOfNewest(t *testing.T) {
	t.Parallel()
	if !datastoretest.InImage(t, image) {
		return
	}
	m := New(newEnv(t), newestOptions(t))
	stopInTheEnd(t, m)
	fullVolume(t, m, 400) // its own files are larger
}

func fullVolume(t *testing.T, m *Manager, sizeMB int) {
	env, ctx := m.env, t.Context()
	grow := datastoretest.SmallVolume(t, env, sizeMB)
	must(t, m.Prepare(ctx, quietly()))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	root, err := m.EnableRoot(ctx, secret("pass"))
	must(t, err)
	db, err := login(t, m, root, "pass", "shop")
	must(t, err)
	must(t, execute(ctx, db, "CREATE TABLE t (n INT PRIMARY KEY, v LONGBLOB)", "INSERT INTO t VALUES (0, '')"))
	acknowledged := 0
	for m.full() == nil {
		within(t, 3*time.Second, func(ctx context.Context) {
			if err := execute(ctx, db, fmt.Sprintf("UPDATE t SET n = %d, v = REPEAT('x', 4000000)", acknowledged+1)); err == nil {
				acknowledged++
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		})
	}
	if err := m.full(); !strings.Contains(err.Error(), "restart") { // as the tenant is told
		t.Error(err)
	}
	within(t, 2*time.Second, func(ctx context.Context) {
		if st := m.Status(ctx); st.Service != datastores.StatusBlocked || st.Message != m.full().Error() {
			t.Errorf("the status is %+v", st)
		}
		wantKind(t, m.Upkeep(ctx), datastores.Full)
		wantKind(t, m.CreateDatabase(ctx, datastores.Database{Name: "more"}), datastores.Full)
		wantKind(t, m.DeleteUser(ctx, "nobody", "%"), datastores.Full)
		_, err := m.backupRows(ctx, datastores.BackupRequest{Output: io.Discard, Expect: func(int64) {}})
		wantKind(t, datastores.Told(err), datastores.Full)
		_, err = m.ListDatabases(ctx)
		must(t, err)
	})
	within(t, 3*time.Minute, func(ctx context.Context) { must(t, m.Stop(ctx)) }) // without SIGKILL, after a minute
	fill(t, m)                                                                   // what a start needs, too
	before := binlogs(t, m)
	must(t, m.Start(ctx)) // it removes the oldest logs, and that is enough
	hasWritten(t, m, acknowledged)
	must(t, m.Upkeep(ctx))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "again"}))
	if after := binlogs(t, m); after >= before {
		t.Errorf("after the restart there are %d binary logs; there were %d", after, before)
	}
	must(t, m.Stop(ctx))
	must(t, os.Remove(m.path("filler")))
	fill(t, m) // data alone: no log is too much
	wantKind(t, m.Start(ctx), datastores.Full)
	must(t, os.Remove(m.path("filler")))
	must(t, m.Start(ctx))
	hasWritten(t, m, acknowledged)
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "more"}))
	must(t, m.Stop(ctx))
	grow(sizeMB + 70)
	must(t, m.Start(ctx))
	hasWritten(t, m, acknowledged)
	if st := m.Status(ctx); st.Service != datastores.StatusHealthy {
		t.Errorf("on a larger volume the status is %+v", st)
	}
	must(t, m.Upkeep(ctx))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "evenmore"}))
}

func binlogs(t *testing.T, m *Manager) int {
	t.Helper()
	files, err := filepath.Glob(m.path(dataDir) + "/binlog.0*")
	must(t, err)
	return len(files)
}

// fill takes what is left of the volume of a server that is stopped, almost.
func fill(t *testing.T, m *Manager) {
	t.Helper()
	var fs syscall.Statfs_t
	must(t, syscall.Statfs(m.env.DataDir, &fs))
	f, err := os.Create(m.path("filler"))
	must(t, err)
	defer func() { must(t, f.Close()) }()
	if left := int64(fs.Bavail)*fs.Bsize - leastSpace/2; left > 0 {
		must(t, syscall.Fallocate(int(f.Fd()), 0, 0, left))
	}
	if m.full() == nil {
		t.Fatal("the volume is not full")
	}
}

func within(t *testing.T, d time.Duration, do func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	do(ctx)
}

func hasWritten(t *testing.T, m *Manager, want int) {
	t.Helper()
	must(t, m.session(func(db *sql.DB) error {
		var n int
		err := db.QueryRowContext(t.Context(), "SELECT n FROM shop.t").Scan(&n)
		if err == nil && n != want && n != want+1 {
			t.Errorf("%d statements have taken effect, and %d were acknowledged", n, want)
		}
		return err
	}))
}
