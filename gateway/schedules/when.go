package schedules

import (
	"strings"
	"time"
	_ "time/tzdata" // machines of gateways need not have the zones

	"github.com/robfig/cron/v3"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
)

// everyHour is how the cron library marks a field that is a star; the low 24 bits are the hours.
const everyHour = 1<<24 - 1

// maxCron is how long a cron expression may be, in bytes.
const maxCron = 100

// CheckWhen refuses with 400 a time that nobody can work out.
func CheckWhen(w etcdschema.When) error {
	switch {
	case w.Cron != "" && w.EveryHours != 0:
		return fault.Errorf(fault.BadRequest, "Validation error: a schedule has 'cron' or 'every_hours', not both.")
	case w.Cron == "" && (w.EveryHours < 1 || w.EveryHours > 24*366):
		return fault.Errorf(fault.BadRequest, "Validation error: a schedule needs 'cron', five fields such as \"30 3 * * *\", or 'every_hours', 1 to %d.", 24*366)
	case w.Cron == "" && w.Zone != "":
		return fault.Errorf(fault.BadRequest, "Validation error: 'timezone' goes with 'cron' alone.")
	case w.Cron == "":
		return nil
	}
	if _, err := location(w); err != nil {
		return fault.Errorf(fault.BadRequest, "Validation error: timezone %.64q is none that IANA knows, such as \"Europe/Berlin\".", w.Zone)
	}
	spec, err := parse(w)
	if err != nil {
		return fault.Errorf(fault.BadRequest, "Validation error: cron %.*q is not five fields of minute, hour, day, month and weekday: %v.", maxCron, w.Cron, err)
	}
	if spec.Next(time.Now().UTC()).IsZero() {
		return fault.Errorf(fault.BadRequest, "Validation error: cron %q names no day that there is.", w.Cron)
	}
	return nil
}

func location(w etcdschema.When) (*time.Location, error) {
	if w.Zone == "Local" { // of whichever gateway that would be
		return nil, fault.Errorf(fault.BadRequest, "no zone")
	}
	return time.LoadLocation(w.Zone)
}

func parse(w etcdschema.When) (*cron.SpecSchedule, error) {
	if len(w.Cron) > maxCron || strings.ContainsAny(w.Cron, "=@") { // the library's own zones and names
		return nil, fault.Errorf(fault.BadRequest, "it is too long, or has a zone or a name in it")
	}
	spec, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(w.Cron)
	if err != nil {
		return nil, err
	}
	s := spec.(*cron.SpecSchedule)
	s.Location = time.UTC
	return s, nil
}

// Next is the first time after a time that a schedule made at a time names; zero: there is none any more. What is asked for at an hour that a
// change of the clock leaves out is due when the clock has changed, and at one that comes twice the first time. What is asked for at every
// hour goes by real time.
func Next(w etcdschema.When, made, after time.Time) time.Time {
	if w.Cron == "" {
		every := time.Duration(w.EveryHours) * time.Hour
		if every <= 0 {
			return time.Time{}
		}
		return made.Add((max(after.Sub(made), 0)/every + 1) * every).UTC()
	}
	spec, err := parse(w)
	if err != nil {
		return time.Time{}
	}
	loc, err := location(w)
	if err != nil {
		return time.Time{}
	}
	if spec.Hour&everyHour == everyHour {
		spec.Location = loc
		return spec.Next(after).UTC()
	}
	for wall := onWall(after.In(loc)); ; {
		if wall = spec.Next(wall); wall.IsZero() {
			return wall
		}
		if at := offWall(wall, loc); at.After(after) {
			return at.UTC()
		}
	}
}

// onWall is what the clock on the wall says, as if that were UTC.
func onWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// offWall is when the clock on the wall first says so, or has just passed that without saying it.
func offWall(wall time.Time, loc *time.Location) time.Time {
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, loc)
	start, end := at.ZoneBounds()
	switch says := onWall(at); {
	case says.After(wall): // the clock was put on at start
		return start
	case says.Before(wall):
		return end
	case start.IsZero():
		return at
	}
	_, now := at.Zone()
	_, before := start.Add(-time.Second).Zone()
	if first := at.Add(time.Duration(now-before) * time.Second); first.Before(start) && onWall(first.In(loc)).Equal(wall) {
		return first
	}
	return at
}
