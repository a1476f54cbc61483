package objectives

import (
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func ago(minutes int) time.Time { return noon.Add(-time.Duration(minutes) * time.Minute) }

func backup(id, window string, began int) etcdschema.Backup {
	b := etcdschema.Backup{BackupRef: datastores.BackupRef{BackupID: id}, Status: etcdschema.BackupCompleted, Created: ago(began)}
	if window != "" {
		b.Log = &etcdschema.LogMark{Window: window, At: ago(began - 1)}
	}
	return b
}

// TestPoint: how much would be lost, and by what that was measured.
func TestPoint(t *testing.T) {
	shipped := func(change func(*etcdschema.LogWindow)) etcdschema.Archive {
		w := etcdschema.LogWindow{ID: "w", From: ago(100), Until: ago(50), Told: ago(49), Behind: 7 * time.Second}
		if change != nil {
			change(&w)
		}
		return etcdschema.Archive{RPO: 60, Windows: []etcdschema.LogWindow{w}}
	}
	there, away := control.Contact{Connected: true, Since: ago(300)}, control.Contact{Since: ago(10)}
	based := []etcdschema.Backup{backup("old", "w", 90), backup("new", "", 30)}
	for name, c := range map[string]struct {
		log     etcdschema.Archive
		backups []etcdschema.Backup
		seen    control.Contact
		by      string
		seconds float64
		current bool
	}{
		"nothing is kept":                {etcdschema.Archive{}, nil, there, "", 0, false},
		"the newest backup":              {etcdschema.Archive{}, based, there, ByBackup, 1800, false},
		"a log without a base":           {shipped(nil), based[1:], there, ByBackup, 1800, false},
		"a quiet log":                    {shipped(nil), based, there, ByLog, 7, true},
		"a log of which nothing is told": {shipped(func(w *etcdschema.LogWindow) { w.Told, w.Behind = time.Time{}, 0 }), based, there, ByLog, 60, true},
		"its guest is away":              {shipped(nil), based, away, ByLog, 660, false},
		"it is stuck":                    {shipped(func(w *etcdschema.LogWindow) { w.Stuck = ago(20) }), based, there, ByLog, 1260, false},
		"stuck, and then away":           {shipped(func(w *etcdschema.LogWindow) { w.Stuck = ago(20) }), based, away, ByLog, 1260, false},
		"stuck before the last backup":   {shipped(func(w *etcdschema.LogWindow) { w.Stuck = ago(40) }), based, there, ByBackup, 1800, false},
		"away since nobody knows":        {shipped(nil), based[:1], control.Contact{}, ByLog, 3000, false},
	} {
		p := point(c.log, c.backups, c.seen, noon)
		if p == nil {
			p = &Point{}
		}
		if p.By != c.by || p.Seconds != c.seconds || p.Current != c.current {
			t.Errorf("%s: %+v; want %v s by %q, current: %v", name, *p, c.seconds, c.by, c.current)
		}
	}
	damaged := backup("damaged", "", 1)
	damaged.Verification = &etcdschema.Verification{Last: &etcdschema.Verified{Result: etcdschema.VerifiedDamaged}}
	failed, snapshot := backup("failed", "", 1), backup("snapshot", "", 1)
	failed.Status, snapshot.Snapshot = etcdschema.BackupFailed, true
	for _, b := range []etcdschema.Backup{damaged, failed, snapshot} {
		if good(b) {
			t.Errorf("%s is good", b.BackupID)
		}
	}
}

// TestJudge: what is missed, and when it can be at the earliest.
func TestJudge(t *testing.T) {
	asked := etcdschema.Objectives{RPO: 3600, RTO: 60}
	for name, c := range map[string]struct {
		r      Recovery
		missed string
		next   time.Time
	}{
		"nothing is kept, it is new":   {Recovery{Asked: asked}, "", ago(30).Add(time.Hour)},
		"a backup that becomes old":    {Recovery{Asked: asked, RPO: &Point{Until: ago(50), By: ByBackup}}, "", ago(-10)},
		"a backup that is old":         {Recovery{Asked: asked, RPO: &Point{Until: ago(60), By: ByBackup}}, "rpo", ago(-10)},
		"a log that is up to now":      {Recovery{Asked: asked, RPO: &Point{Until: noon, By: ByLog, Current: true}}, "", ago(-60)},
		"a restore that took too long": {Recovery{Asked: etcdschema.Objectives{RTO: 60}, RTO: &Time{Seconds: 61, By: ByDrill}}, "rto", time.Time{}},
		"one that did not":             {Recovery{Asked: etcdschema.Objectives{RTO: 60}, RTO: &Time{Seconds: 60, By: ByDrill}}, "", time.Time{}},
		"nobody has tried":             {Recovery{Asked: etcdschema.Objectives{RTO: 60}}, "", time.Time{}},
		"nobody asks":                  {Recovery{RPO: &Point{Until: ago(9999)}, RTO: &Time{Seconds: 1e9}}, "", time.Time{}},
	} {
		missed, next := judge(c.r, ago(30), noon)
		got := ""
		for which := range missed {
			got += which
		}
		if got != c.missed || !next.Equal(c.next) {
			t.Errorf("%s: missed %q, looked at %s; want %q at %s", name, got, next, c.missed, c.next)
		}
	}
}
