package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

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
	var whole, cluster bool
	create := a.api("create INSTANCE NAME", "Have an instance, its set, or a cluster backed up at times", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		of := findInstance
		if cluster {
			of = findCluster
		}
		id, err := of(ctx, c, args[0])
		if err != nil {
			return err
		}
		fields, err := fresh.given()
		if err != nil {
			return err
		}
		fields["instance"], fields["name"] = id, args[1]
		if whole {
			fields["scope"] = "set"
		}
		s, err := dbext.CreateSchedule(ctx, c, fields)
		if err != nil {
			return err
		}
		return a.print(s, scheduleFields(s))
	})
	fresh.on(create.Flags())
	create.Flags().BoolVar(&whole, "set", false, "of the whole replication set that INSTANCE is in: a replica makes the backups when one is well, whoever is the source")
	create.Flags().BoolVar(&cluster, "cluster", false, "INSTANCE is a cluster, by name or id: all of it is backed up")
	create.MarkFlagsMutuallyExclusive("set", "cluster")
	defaults := a.api("default NAME", "Have every instance of the project backed up at times, those to come, too", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		fields, err := every.given()
		if err != nil {
			return err
		}
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
		fields, err := changed.given()
		if err != nil {
			return err
		}
		s, err := dbext.UpdateSchedule(ctx, c, id, fields)
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
	enabled, latest                   bool
	question                          questionFlags
}

func (f *scheduleFlags) on(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.kind, "kind", "full", "full, incremental, or drill: whether what is kept can be restored")
	flags.StringVar(&f.cron, "cron", "", `when: minute, hour, day, month, weekday, as "30 3 * * *"`)
	flags.StringVar(&f.zone, "timezone", "", "of --cron, as IANA names it; UTC when it is not given")
	flags.IntVar(&f.hours, "every-hours", 0, "when, instead of --cron: each so many hours")
	flags.IntVar(&f.window, "window-minutes", 60, "how long a run waits for an instance that is busy, until it is skipped")
	flags.IntVar(&f.full, "full-every", 7, "of an incremental one: how many backups build on each other, the full one with them")
	flags.IntVar(&f.keep, "keep", 0, "how many of its backups stay, the newest; 0: all")
	flags.IntVar(&f.keepto, "keep-days", 0, "how old they may become; 0: any age")
	flags.BoolVar(&f.latest, "latest", false, "of drills: restore to as far as the log was shipped, instead of the newest backup")
	f.question.on(flags)
	flags.BoolVar(&f.enabled, "enabled", true, "--enabled=false puts it to rest")
}

func (f *scheduleFlags) given() (map[string]any, error) {
	fields := map[string]any{}
	for flag, value := range map[string]any{
		"kind": f.kind, "cron": f.cron, "timezone": f.zone, "every-hours": f.hours, "window-minutes": f.window, "full-every": f.full,
		"keep": f.keep, "keep-days": f.keepto, "enabled": f.enabled, "latest": f.latest,
	} {
		if f.flags.Changed(flag) {
			fields[strings.ReplaceAll(flag, "-", "_")] = value
		}
	}
	return fields, f.question.into(fields)
}

// findSchedule turns a name or id into an id.
func findSchedule(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	return find("schedule", ref, func() ([]dbext.Schedule, error) { return dbext.ListSchedules(ctx, c, "") },
		func(s dbext.Schedule) (string, string) { return s.ID, s.Name })
}

// backedUp says which instances a schedule is for.
func backedUp(s dbext.Schedule) string {
	switch s.Scope {
	case "project":
		return "every instance"
	case "cluster":
		return "cluster " + s.Cluster
	case "set":
		return "set of " + s.Instance
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
			{"last run", run.Planned.String()}, {"result", run.Result}, {"reason", run.Reason}, {"backup", run.Backup}, {"made by", run.Instance}, {"drill", run.Drill}, {"ended", run.Ended.String()},
		}...)
	}
	return all
}

func (a *app) drillCommands() *cobra.Command {
	var backup, at string
	var latest, wait bool
	var question questionFlags
	run := a.api("run INSTANCE", "Restore what is kept of an instance into one that is looked at and removed", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		fields := map[string]any{}
		if backup != "" {
			if fields["backup"], err = findBackup(ctx, c, backup); err != nil {
				return err
			}
		}
		if at != "" {
			fields["time"] = at
		}
		if latest {
			fields["latest"] = true
		}
		if err := question.into(fields); err != nil {
			return err
		}
		d, err := dbext.CreateDrill(ctx, c, id, fields)
		if err == nil && wait {
			d, err = a.awaitDrill(ctx, c, d)
		}
		if err != nil {
			return err
		}
		if err := a.print(d, drillFields(d)); err != nil {
			return err
		}
		if d.Result == "failed" {
			return fmt.Errorf("the drill failed: %s", d.Reason)
		}
		return nil
	})
	run.Flags().StringVar(&backup, "backup", "", "backup to restore, by name or id; the newest when it is not given")
	run.Flags().StringVar(&at, "time", "", "instead: restore to this time, as 2026-11-29T12:00:00Z, of an instance whose log is shipped")
	run.Flags().BoolVar(&latest, "latest", false, "instead: restore to as far as the log was shipped")
	run.Flags().BoolVar(&wait, "wait", false, "wait until it is over")
	question.on(run.Flags())
	list := a.api("list INSTANCE", "List the drills of an instance and what they have found", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		all, err := dbext.ListDrills(ctx, c, id)
		if err != nil {
			return err
		}
		t := table{{"id", "began", "backup", "result", "restored in", "read", "reason"}}
		for _, d := range all {
			t = append(t, []string{d.ID, d.Began.String(), d.Backup, d.Result, restoredIn(d), readBy(d), d.Reason})
		}
		return a.print(all, t)
	})
	show := a.api("show INSTANCE DRILL", "Show what a drill has found, by its id", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		d, err := findDrill(ctx, c, id, args[1])
		if err != nil {
			return err
		}
		return a.print(d, drillFields(d))
	})
	return group("drill", "Trials of restoring what is kept", run, list, show)
}

// findDrill reads one drill of an instance.
func findDrill(ctx context.Context, c *gophercloud.ServiceClient, instance, id string) (dbext.Drill, error) {
	all, err := dbext.ListDrills(ctx, c, instance)
	for _, d := range all {
		if d.ID == id {
			return d, nil
		}
	}
	if err == nil {
		err = notFoundf("there is no drill %q of the instance; `coffer drill list` shows what there is", id)
	}
	return dbext.Drill{}, err
}

// awaitDrill looks at a drill until it is over.
func (a *app) awaitDrill(ctx context.Context, c *gophercloud.ServiceClient, d dbext.Drill) (dbext.Drill, error) {
	tick := time.NewTicker(a.poll)
	defer tick.Stop()
	for d.Running() {
		select {
		case <-ctx.Done():
			return d, ctx.Err()
		case <-tick.C:
		}
		now, err := findDrill(ctx, c, d.Instance, d.ID)
		switch {
		case err == nil:
			d = now
		case !transient(err):
			return d, err
		}
	}
	return d, nil
}

// questionFlags are what a drill asks of the restored instance. A query and its answer come from files: command lines are read by others.
type questionFlags struct{ database, query, answer string }

func (f *questionFlags) on(flags *pflag.FlagSet) {
	flags.StringVar(&f.query, "query-file", "", "file with a query that the restored instance must answer")
	flags.StringVar(&f.answer, "answer-file", "", "file with the answer that is right: rows by line, columns by tab")
	flags.StringVar(&f.database, "query-database", "", "database that the query is for")
}

func (f *questionFlags) into(fields map[string]any) error {
	if f.query == "" {
		if f.answer+f.database != "" {
			return usagef("--answer-file and --query-database go with --query-file")
		}
		return nil
	}
	query, err := os.ReadFile(f.query)
	answer := []byte{}
	if f.answer != "" {
		var unread error
		answer, unread = os.ReadFile(f.answer)
		err = errors.Join(err, unread)
	}
	fields["question"] = map[string]any{"database": f.database, "query": string(query), "answer": string(answer)}
	return err
}

func restoredIn(d dbext.Drill) string {
	if d.Seconds == nil {
		return ""
	}
	return fmt.Sprintf("%.1f s", *d.Seconds)
}

func readBy(d dbext.Drill) string {
	if d.Check == nil {
		return ""
	}
	return fmt.Sprintf("%d %s by %s", d.Check.Objects, d.Check.Unit, d.Check.By)
}

func drillFields(d dbext.Drill) fields {
	all := fields{
		{"id", d.ID}, {"instance", d.Instance}, {"schedule", d.Schedule}, {"user", d.User}, {"backup", d.Backup}, {"backup completed", d.BackupAt.String()}, {"backup size", fmt.Sprintf("%.3f GB", d.BackupSize)},
		{"log replayed to", d.Time}, {"restored instance", d.Probe}, {"step", d.Step}, {"result", d.Result}, {"reason", d.Reason},
		{"began", d.Began.String()}, {"restored", d.Restored.String()}, {"checked", d.Checked.String()}, {"ended", d.Ended.String()}, {"restored in", restoredIn(d)}, {"read", readBy(d)},
	}
	if d.VolumeUsed != nil {
		all = append(all, fields{{"volume used", fmt.Sprintf("%.3f GB", *d.VolumeUsed)}}...)
	}
	if r := d.Check; r != nil {
		all = append(all, fields{{"digest", r.Digest}}...)
		for _, p := range r.Problems {
			all = append(all, fields{{"problem", p}}...)
		}
		if r.Answered != nil {
			all = append(all, fields{{"answered", map[bool]string{true: "as it must be", false: "otherwise"}[*r.Answered]}}...)
		}
	}
	return all
}
