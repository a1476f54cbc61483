package schedules

import (
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// TestNext has what comes next, changes of summer time among it: in Berlin 2026-03-29 02:00 to 03:00 is left out, and 2026-10-25 02:00 to 03:00
// comes twice.
func TestNext(t *testing.T) {
	const berlin = "Europe/Berlin"
	for _, c := range []struct {
		cron, zone, after, want string
	}{
		{"30 3 * * *", "", "2026-05-01T03:30:00Z", "2026-05-02T03:30:00Z"},
		{"30 3 * * *", berlin, "2026-05-01T00:00:00Z", "2026-05-01T01:30:00Z"},
		{"30 3 * * *", berlin, "2026-12-01T00:00:00Z", "2026-12-01T02:30:00Z"},
		{"0 4 * * 1-5", berlin, "2026-05-01T12:00:00Z", "2026-05-04T02:00:00Z"},

		{"30 2 * * *", berlin, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"}, // there is no 02:30: at 03:00
		{"30 2 * * *", berlin, "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"0,30 2 * * *", berlin, "2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z"}, // both are one
		{"0,30 2 * * *", berlin, "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"},

		{"30 2 * * *", berlin, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"}, // the first 02:30
		{"30 2 * * *", berlin, "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}, // not the second
		{"30 2 * * *", berlin, "2026-10-25T01:00:00Z", "2026-10-26T01:30:00Z"},
		{"30 * * * *", berlin, "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"}, // every hour has its turn
		{"30 * * * *", berlin, "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"},
		{"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", "2026-04-04T14:45:00Z"}, // put back by half an hour at 02:00
	} {
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		got := Next(etcdschema.When{Cron: c.cron, Zone: c.zone}, time.Time{}, after).Format(time.RFC3339)
		if got != c.want {
			t.Errorf("%q in %q after %s: %s, want %s", c.cron, c.zone, c.after, got, c.want)
		}
	}
	made := time.Date(2026, 5, 1, 10, 20, 0, 0, time.UTC)
	for _, c := range []struct{ after, want time.Duration }{{0, 6}, {5, 6}, {6, 12}, {100, 102}} {
		if got := Next(etcdschema.When{EveryHours: 6}, made, made.Add(c.after*time.Hour)).Sub(made); got != c.want*time.Hour {
			t.Errorf("every 6 hours, after %d: %s, want %d h", c.after, got, c.want)
		}
	}
}

func TestTimesThatAreNone(t *testing.T) {
	for _, w := range []etcdschema.When{
		{}, {Cron: "* * * *"}, {Cron: "0 3 * * *", EveryHours: 3}, {EveryHours: -1}, {EveryHours: 3, Zone: "UTC"}, {Cron: "0 3 31 2 *"},
		{Cron: "0 25 * * *"}, {Cron: "@daily"}, {Cron: "TZ=UTC 0 3 * * *"}, {Cron: "0 3 * * *", Zone: "Mars/Base"}, {Cron: "0 3 * * *", Zone: "Local"},
		{Cron: "0 3 * * *", Zone: "../etc/passwd"},
	} {
		if err := CheckWhen(w); err == nil {
			t.Errorf("%+v is taken", w)
		}
	}
	for _, w := range []etcdschema.When{{EveryHours: 1}, {Cron: "*/15 0-6 * * MON"}, {Cron: "0 3 29 2 *", Zone: "America/New_York"}} {
		if err := CheckWhen(w); err != nil {
			t.Errorf("%+v: %v", w, err)
		}
	}
}
