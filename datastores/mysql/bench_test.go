package mysql

import (
	"context"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores/service"
)

// BenchmarkPrepare compares prepare with what an administrator does by hand: mariadb-install-db, and a start.
func BenchmarkPrepare(b *testing.B) {
	var ours, byHand time.Duration
	for b.Loop() {
		start := time.Now()
		m := prepared(b)
		ours += time.Since(start)
		must(b, m.Stop(context.Background()))

		start = time.Now()
		installAndStart(b)
		byHand += time.Since(start)
	}
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms/prepare")
	b.ReportMetric(float64(byHand.Milliseconds())/float64(b.N), "ms/by-hand")
	b.ReportMetric(ours.Seconds()/byHand.Seconds(), "ratio")
}

func installAndStart(b *testing.B) {
	m := newManager(b, newEnv(b))
	must(b, m.configure())
	must(b, m.data.MakeDir(dataDir))
	install := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+m.path(dataDir),
		"--auth-root-authentication-method=normal", "--skip-test-db")
	install.SysProcAttr = &syscall.SysProcAttr{Credential: service.Credential(m.env.UID, m.env.GID)}
	if out, err := install.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	must(b, m.service.Start(b.Context()))
	must(b, m.service.Await(b.Context(), func(ctx context.Context) error {
		db, err := dial(m.env.Address, "root", "", "")
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		_, err = db.ExecContext(ctx, "SELECT 1") // no root of this address, but an answer
		if is(err, 1130) {
			return nil
		}
		return err
	}))
	must(b, m.Stop(context.Background()))
}
