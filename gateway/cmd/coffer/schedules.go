package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) scheduleCommands() *cobra.Command {
	// on makes a command whose argument is a schedule.
	on := func(use, short, did string, run func(context.Context, *gophercloud.ServiceClient, string) error) *cobra.Command {
		return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findSchedule(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(run(ctx, c, id), did, args[0])
		})
	}
	var instance string
	list := a.api("list", "List the project's schedules", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) (err error) {
		id := ""
		if instance != "" {
			if id, err = findInstance(ctx, c, instance); err != nil {
				return err
			}
		}
		all, err := dbext.ListSchedules(ctx, c, id)
		if err != nil {
			return err
		}
		t := table{{"id", "name", "instance", "kind", "when", "enabled", "next", "last"}}
		for _, s := range all {
			last := ""
			if s.LastRun != nil {
				last = s.LastRun.Result
			}
			t = append(t, []string{s.ID, s.Name, backedUp(s), s.Kind, when(s), strconv.FormatBool(s.Enabled), s.NextRun.String(), last})
		}
		return a.print(all, t)
	})
	list.Flags().StringVar(&instance, "instance", "", "those of one instance, by name or id")
	var fresh, every, changed scheduleFlags
	create := a.api("create INSTANCE NAME", "Have an instance backed up at times", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		fields := fresh.given()
		fields["instance"], fields["name"] = id, args[1]
		s, err := dbext.CreateSchedule(ctx, c, fields)
		if err != nil {
			return err
		}
		return a.print(s, scheduleFields(s))
	})
	fresh.on(create.Flags())
	defaults := a.api("default NAME", "Have every instance of the project backed up at times, those to come, too", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		fields := every.given()
		fields["default"], fields["name"] = true, args[0]
		s, err := dbext.CreateSchedule(ctx, c, fields)
		if err != nil {
			return err
		}
		return a.print(s, scheduleFields(s))
	})
	every.on(defaults.Flags())
	update := a.api("update SCHEDULE", "Change what is given of a schedule", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findSchedule(ctx, c, args[0])
		if err != nil {
			return err
		}
		s, err := dbext.UpdateSchedule(ctx, c, id, changed.given())
		if err != nil {
			return err
		}
		return a.print(s, scheduleFields(s))
	})
	changed.on(update.Flags())
	return group("schedule", "Backups at times",
		create, defaults, list,
		a.api("show SCHEDULE", "Show a schedule, its next and its last run, by name or id", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findSchedule(ctx, c, args[0])
			if err != nil {
				return err
			}
			s, err := dbext.GetSchedule(ctx, c, id)
			if err != nil {
				return err
			}
			return a.print(s, scheduleFields(s))
		}),
		update,
		on("run SCHEDULE", "Have a run begin at once", "a run of %s begins", dbext.RunSchedule),
		on("delete SCHEDULE", "End a schedule; its backups stay", "%s is deleted", dbext.DeleteSchedule),
	)
}

// scheduleFlags are the fields of a schedule, each sent when it is given.
type scheduleFlags struct {
	flags                             *pflag.FlagSet
	kind, cron, zone                  string
	hours, window, full, keep, keepto int
	enabled                           bool
}

func (f *scheduleFlags) on(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.kind, "kind", "full", "full or incremental")
	flags.StringVar(&f.cron, "cron", "", `when: minute, hour, day, month, weekday, as "30 3 * * *"`)
	flags.StringVar(&f.zone, "timezone", "", "of --cron, as IANA names it; UTC when it is not given")
	flags.IntVar(&f.hours, "every-hours", 0, "when, instead of --cron: each so many hours")
	flags.IntVar(&f.window, "window-minutes", 60, "how long a run waits for an instance that is busy, until it is skipped")
	flags.IntVar(&f.full, "full-every", 7, "of an incremental one: how many backups build on each other, the full one with them")
	flags.IntVar(&f.keep, "keep", 0, "how many of its backups stay, the newest; 0: all")
	flags.IntVar(&f.keepto, "keep-days", 0, "how old they may become; 0: any age")
	flags.BoolVar(&f.enabled, "enabled", true, "--enabled=false puts it to rest")
}

func (f *scheduleFlags) given() map[string]any {
	fields := map[string]any{}
	for flag, value := range map[string]any{
		"kind": f.kind, "cron": f.cron, "timezone": f.zone, "every-hours": f.hours, "window-minutes": f.window, "full-every": f.full,
		"keep": f.keep, "keep-days": f.keepto, "enabled": f.enabled,
	} {
		if f.flags.Changed(flag) {
			fields[strings.ReplaceAll(flag, "-", "_")] = value
		}
	}
	return fields
}

// findSchedule turns a name or id into an id.
func findSchedule(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	return find("schedule", ref, func() ([]dbext.Schedule, error) { return dbext.ListSchedules(ctx, c, "") },
		func(s dbext.Schedule) (string, string) { return s.ID, s.Name })
}

// backedUp says which instances a schedule is for.
func backedUp(s dbext.Schedule) string {
	if s.Default {
		return "every instance"
	}
	return s.Instance
}

func when(s dbext.Schedule) string {
	if s.Cron == "" {
		return fmt.Sprintf("every %d h", s.EveryHours)
	}
	return s.Cron + " " + s.Zone
}

func scheduleFields(s dbext.Schedule) fields {
	all := fields{
		{"id", s.ID}, {"name", s.Name}, {"instance", backedUp(s)}, {"made from", s.From}, {"kind", s.Kind}, {"when", when(s)}, {"window", fmt.Sprintf("%d min", s.Window)},
		{"full every", strconv.Itoa(s.FullEvery)}, {"keep", strconv.Itoa(s.Keep)}, {"keep days", strconv.Itoa(s.KeepDays)},
		{"enabled", strconv.FormatBool(s.Enabled)}, {"next run", s.NextRun.String()}, {"waiting since", s.Waiting.String()},
	}
	if run := s.LastRun; run != nil {
		all = append(all, fields{
			{"last run", run.Planned.String()}, {"result", run.Result}, {"reason", run.Reason}, {"backup", run.Backup}, {"ended", run.Ended.String()},
		}...)
	}
	return all
}
