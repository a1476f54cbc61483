package maintenance

import (
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

func TestOpen(t *testing.T) {
	berlin := etcdschema.MaintenanceWindow{Days: []string{"sun"}, Start: "02:30", Minutes: 120, Zone: "Europe/Berlin"}
	late := etcdschema.MaintenanceWindow{Days: []string{"sat", "wed"}, Start: "23:00", Minutes: 180}
	for name, c := range map[string]struct {
		window        etcdschema.MaintenanceWindow
		now, from, to string
	}{
		"the days before":           {berlin, "2026-06-03T12:00:00Z", "2026-06-07T00:30:00Z", "2026-06-07T02:30:00Z"},
		"just before":               {berlin, "2026-06-07T00:29:59Z", "2026-06-07T00:30:00Z", "2026-06-07T02:30:00Z"},
		"as it begins":              {berlin, "2026-06-07T00:30:00Z", "2026-06-07T00:30:00Z", "2026-06-07T02:30:00Z"},
		"as it ends":                {berlin, "2026-06-07T02:30:00Z", "2026-06-14T00:30:00Z", "2026-06-14T02:30:00Z"},
		"in winter":                 {berlin, "2026-12-01T00:00:00Z", "2026-12-06T01:30:00Z", "2026-12-06T03:30:00Z"},
		"the clock is put on":       {berlin, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"},
		"and it is open":            {berlin, "2026-03-29T02:59:00Z", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"},
		"the clock is put back":     {berlin, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z"},
		"its second half past two":  {berlin, "2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z"},
		"and it is over":            {berlin, "2026-10-25T02:31:00Z", "2026-11-01T01:30:00Z", "2026-11-01T03:30:00Z"},
		"past midnight":             {late, "2026-06-07T01:00:00Z", "2026-06-06T23:00:00Z", "2026-06-07T02:00:00Z"},
		"the next of two days":      {late, "2026-06-07T03:00:00Z", "2026-06-10T23:00:00Z", "2026-06-11T02:00:00Z"},
		"and the one after that":    {late, "2026-06-11T02:00:00Z", "2026-06-13T23:00:00Z", "2026-06-14T02:00:00Z"},
		"a month's and year's turn": {late, "2026-12-31T12:00:00Z", "2027-01-02T23:00:00Z", "2027-01-03T02:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		from, to := open(c.window, now)
		if from.Format(time.RFC3339) != c.from || to.Format(time.RFC3339) != c.to {
			t.Errorf("%s: from %s to %s, want from %s to %s", name, from.Format(time.RFC3339), to.Format(time.RFC3339), c.from, c.to)
		}
	}
}

func TestCheck(t *testing.T) {
	good := etcdschema.MaintenanceWindow{Days: []string{"sat", "sun"}, Start: "02:30", Minutes: 60, Zone: "Asia/Kathmandu"}
	if err := check(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*etcdschema.MaintenanceWindow){
		"no day":        func(w *etcdschema.MaintenanceWindow) { w.Days = nil },
		"a day twice":   func(w *etcdschema.MaintenanceWindow) { w.Days = []string{"sat", "sat"} },
		"no such day":   func(w *etcdschema.MaintenanceWindow) { w.Days = []string{"saturday"} },
		"no time":       func(w *etcdschema.MaintenanceWindow) { w.Start = "" },
		"half a time":   func(w *etcdschema.MaintenanceWindow) { w.Start = "2:30" },
		"a late time":   func(w *etcdschema.MaintenanceWindow) { w.Start = "24:00" },
		"too short":     func(w *etcdschema.MaintenanceWindow) { w.Minutes = 29 },
		"too long":      func(w *etcdschema.MaintenanceWindow) { w.Minutes = 1441 },
		"no such zone":  func(w *etcdschema.MaintenanceWindow) { w.Zone = "Mars/Base" },
		"a gateway's":   func(w *etcdschema.MaintenanceWindow) { w.Zone = "Local" },
		"a file's name": func(w *etcdschema.MaintenanceWindow) { w.Zone = "../etc/passwd" },
	} {
		w := good
		if change(&w); check(w) == nil {
			t.Errorf("%s: %+v is taken", name, w)
		}
	}
}
