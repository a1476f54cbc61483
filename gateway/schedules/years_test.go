package schedules

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// TestYears has a daily schedule come once on every day of the wall's calendar, in zones that change their clocks by an hour, by half of one, at
// midnight, and by a whole day; and an hourly one once in every hour.
func TestYears(t *testing.T) {
	from, to := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2013, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, zone := range []string{"", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, clock := range [][2]int{{0, 0}, {1, 45}, {2, 30}, {23, 59}} {
			w := etcdschema.When{Cron: fmt.Sprintf("%d %d * * *", clock[1], clock[0]), Zone: zone}
			wall := time.Date(from.Year(), 1, 1, clock[0], clock[1], 0, 0, time.UTC)
			at := Next(w, time.Time{}, time.Date(from.Year(), 1, 1, 0, 0, 0, 0, loc).Add(-time.Nanosecond))
			for ; wall.Before(to); wall = wall.AddDate(0, 0, 1) {
				says := onWall(at.In(loc))
				if late := says.Sub(wall); late < 0 || late > 24*time.Hour {
					t.Fatalf("%q in %q: the run of %s is at %s", w.Cron, zone, wall, at)
				}
				exists := onWall(time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, loc)).Equal(wall)
				if exists && !says.Equal(wall) {
					t.Fatalf("%q in %q: the run of %s, which there is, is at %s", w.Cron, zone, wall, says)
				}
				if tomorrow := wall.AddDate(0, 0, 1); says.Equal(tomorrow) {
					continue // Apia left out a whole day; what was left out and what comes then are one run
				}
				next := Next(w, time.Time{}, at)
				if !next.After(at) {
					t.Fatalf("%q in %q: after %s comes %s", w.Cron, zone, at, next)
				}
				at = next
			}
		}
		hourly, runs := etcdschema.When{Cron: "0 * * * *", Zone: zone}, 0
		for at := Next(hourly, time.Time{}, from.Add(-time.Second)); at.Before(from.AddDate(1, 0, 0)); at = Next(hourly, time.Time{}, at) {
			runs++
		}
		if want, changes := int(from.AddDate(1, 0, 0).Sub(from)/time.Hour), 2; runs < want-changes || runs > want+changes {
			t.Errorf("hourly in %q: %d runs in %d hours", zone, runs, want)
		}
	}
	leap := etcdschema.When{Cron: "0 4 29 2 *"}
	for year, at := 2012, Next(leap, time.Time{}, from); year < 2036; year, at = year+4, Next(leap, time.Time{}, at) {
		if want := time.Date(year, 2, 29, 4, 0, 0, 0, time.UTC); !at.Equal(want) {
			t.Errorf("a leap day's run is at %s, want %s", at, want)
		}
	}
}

// TestGatewaysComeAndGo has gateways be there at times only: every time that came while one was there has its run, once, and all that came while
// none was have one together.
func TestGatewaysComeAndGo(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 11))
		sch := etcdschema.Schedule{When: etcdschema.When{Cron: "30 2 * * *", Zone: "Europe/Berlin"}}
		if seed%2 == 1 {
			sch.When = etcdschema.When{EveryHours: 1 + random.IntN(30)}
		}
		sch.Created = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		sch.Next = following(sch, sch.Created)
		made := map[time.Time]bool{}
		for now := sch.Created; now.Before(sch.Created.AddDate(5, 0, 0)); {
			away := now.Add(time.Duration(random.ExpFloat64() * float64(72*time.Hour)))
			back := away.Add(time.Duration(random.ExpFloat64() * float64(72*time.Hour)))
			for sch.Next.Before(away) { // a gateway is there
				if made[sch.Next] {
					t.Fatalf("seed %d: two runs for %s", seed, sch.Next)
				}
				made[sch.Next] = true
				now = later(now, sch.Next)
				sch.Next = following(sch, now)
			}
			now = back
		}
		for planned := range made {
			if Next(sch.When, sch.Created, planned.Add(-time.Nanosecond)) != planned {
				t.Errorf("seed %d: a run for %s, at which there is none", seed, planned)
			}
		}
		if len(made) < 30 {
			t.Errorf("seed %d: %d runs in five years", seed, len(made))
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
