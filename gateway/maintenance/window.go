package maintenance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/schedules"
)

// How long a window may be, in minutes.
const (
	leastMinutes = 30
	mostMinutes  = 24 * 60
)

var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// check refuses with 400 a window that nobody can work out.
func check(w etcdschema.MaintenanceWindow) error {
	at, err := time.Parse("15:04", w.Start)
	switch {
	case len(w.Days) == 0 || len(w.Days) > len(days):
		return fault.Errorf(fault.BadRequest, "Validation error: maintenance_window['days'] must name one to seven of %s.", strings.Join(days, ", "))
	case err != nil || at.Format("15:04") != w.Start:
		return fault.Errorf(fault.BadRequest, "Validation error: maintenance_window['start'] must be a time of the day, such as \"02:30\".")
	case w.Minutes < leastMinutes || w.Minutes > mostMinutes:
		return fault.Errorf(fault.BadRequest, "Validation error: maintenance_window['duration_minutes'] must be from %d to %d.", leastMinutes, mostMinutes)
	}
	for i, day := range w.Days {
		if !slices.Contains(days, day) || slices.Contains(w.Days[:i], day) {
			return fault.Errorf(fault.BadRequest, "Validation error: maintenance_window['days'] must name each of %s at most once, not %.20q.", strings.Join(days, ", "), day)
		}
	}
	return schedules.CheckWhen(when(w))
}

// when says at which times a window begins, as a schedule says it: an hour that a change of the clock leaves out, or has twice, is treated alike.
func when(w etcdschema.MaintenanceWindow) etcdschema.When {
	hour, minute, _ := strings.Cut(w.Start, ":")
	on := make([]string, len(w.Days))
	for i, day := range w.Days {
		on[i] = fmt.Sprint(slices.Index(days, day))
	}
	return etcdschema.When{Cron: fmt.Sprintf("%s %s * * %s", minute, hour, strings.Join(on, ",")), Zone: w.Zone}
}

// open is the window that is open at a time, or else the next one: from its begin to its end.
func open(w etcdschema.MaintenanceWindow, now time.Time) (from, to time.Time) {
	long := time.Duration(w.Minutes) * time.Minute
	from = schedules.Next(when(w), time.Time{}, now.Add(-long))
	return from, from.Add(long)
}
