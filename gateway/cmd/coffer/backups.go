package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) backupCommands() *cobra.Command {
	// on makes a command whose argument is a backup.
	on := func(use, short, did string, run func(context.Context, *gophercloud.ServiceClient, string) error) *cobra.Command {
		return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findBackup(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(run(ctx, c, id), did, args[0])
		})
	}
	return group("backup", "Backups of instances", append(append(a.grantCommands(), a.acrossCommands()...),
		a.createBackup(),
		a.listBackups(),
		a.verifyBackup(),
		a.api("show BACKUP", "Show a backup, by name or id", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findBackup(ctx, c, args[0])
			if err != nil {
				return err
			}
			b, err := dbext.GetBackup(ctx, c, id)
			if err != nil {
				return err
			}
			return a.print(b, backupFields(b))
		}),
		on("delete BACKUP", "Delete a backup, and those that build on it", "delete of %s has begun", dbext.DeleteBackup),
		on("cancel BACKUP", "End the making of a backup, or its verification", "cancelling %s", dbext.CancelBackup))...,
	)
}

// findBackup turns a name or id into an id.
func findBackup(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	return find("backup", ref, func() ([]dbext.Backup, error) { return dbext.ListBackups(ctx, c, "") },
		func(b dbext.Backup) (string, string) { return b.ID, b.Name })
}

func backupFields(b dbext.Backup) fields {
	return fields{
		{"id", b.ID}, {"name", b.Name}, {"description", b.Description}, {"status", b.Status}, {"fault", b.Fault}, {"size", backupSize(b)}, {"stored", storedSize(b)},
		{"instance", b.Instance}, {"cluster", b.Cluster}, {"datastore", b.Datastore.Type + " " + b.Datastore.Version}, {"strategy", b.Strategy}, {"parent", b.Parent},
		{"created", b.Created.String()}, {"updated", b.Updated.String()},
		{"verification", verification(b)},
	}
}

func backupSize(b dbext.Backup) string {
	switch {
	case b.Size == 0:
		return ""
	case b.Size < 0.1:
		return fmt.Sprintf("%.1f MB", b.Size*1024)
	}
	return fmt.Sprintf("%.2f GB", b.Size)
}

func storedSize(b dbext.Backup) string {
	if b.Stored == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f MB", math.Ceil(float64(b.Stored)/(1<<20)*10)/10)
}

func (a *app) listBackups() *cobra.Command {
	var instance string
	var everyProject bool
	cmd := a.api("list", "List the project's backups, the newest first", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
		id := ""
		if instance != "" {
			var err error
			if id, err = findInstance(ctx, c, instance); err != nil {
				return err
			}
		}
		list, head := dbext.ListBackups, []string{"id", "name", "status", "size", "kind", "instance", "datastore", "created"}
		if everyProject {
			list, head = dbext.ListAllBackups, append(head, "project")
		}
		all, err := list(ctx, c, id)
		if err != nil {
			return err
		}
		slices.SortStableFunc(all, func(a, b dbext.Backup) int { return b.Created.Compare(a.Created.Time) })
		t := table{head}
		for _, b := range all {
			kind := "full"
			if b.Parent != "" {
				kind = "incremental"
			}
			row := []string{b.ID, b.Name, b.Status, backupSize(b), kind, b.Instance, b.Datastore.Type + " " + b.Datastore.Version, b.Created.String()}
			if everyProject {
				row = append(row, b.Project)
			}
			t = append(t, row)
		}
		return a.print(all, t)
	})
	cmd.Flags().BoolVar(&everyProject, "all-projects", false, "those of every project (admin)")
	cmd.Flags().StringVar(&instance, "instance", "", "those of one instance, by name or id; it may be gone when it is given by id")
	return cmd
}

func (a *app) createBackup() *cobra.Command {
	var description, parent string
	var cluster, incremental, wait bool
	cmd := a.api("create INSTANCE NAME", "Make a backup of an instance, or of a cluster", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		of := findInstance
		if cluster {
			of = findCluster
		}
		id, err := of(ctx, c, args[0])
		if err != nil {
			return err
		}
		opts := dbext.BackupOpts{Name: args[1], Instance: id, Description: description}
		if incremental {
			opts.Incremental = 1
		}
		if parent != "" {
			if opts.Parent, err = findBackup(ctx, c, parent); err != nil {
				return err
			}
		}
		b, err := dbext.CreateBackup(ctx, c, opts)
		if err != nil {
			return err
		}
		if wait {
			if b, err = a.awaitBackup(ctx, c, b); err != nil {
				return err
			}
		}
		if err := a.print(b, backupFields(b)); err != nil {
			return err
		}
		if wait && b.Status != "COMPLETED" {
			return fmt.Errorf("backup %s is %s: %s", b.Name, strings.ToLower(b.Status), cmp.Or(b.Fault, "it was ended, or deleted"))
		}
		return nil
	})
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	cmd.Flags().BoolVar(&cluster, "cluster", false, "INSTANCE is a cluster, by name or id: all of it is backed up")
	cmd.Flags().StringVar(&parent, "parent", "", "backup to build on, by name or id: only what changed since is saved")
	cmd.Flags().BoolVar(&incremental, "incremental", false, "build on the instance's newest backup; a full one when there is none")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is complete")
	return cmd
}

// awaitBackup looks at a backup until it is made or has failed.
func (a *app) awaitBackup(ctx context.Context, c *gophercloud.ServiceClient, b dbext.Backup) (dbext.Backup, error) {
	return a.watchBackup(ctx, c, b, dbext.Backup.Running)
}

// watchBackup looks at a backup as long as it is so.
func (a *app) watchBackup(ctx context.Context, c *gophercloud.ServiceClient, b dbext.Backup, so func(dbext.Backup) bool) (dbext.Backup, error) {
	return watch(ctx, a.poll, b, so, func() (dbext.Backup, error) { return dbext.GetBackup(ctx, c, b.ID) })
}

// watch looks at something as long as it is so, and over what is away for a moment.
func watch[T any](ctx context.Context, every time.Duration, what T, so func(T) bool, look func() (T, error)) (T, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for so(what) {
		select {
		case <-ctx.Done():
			return what, ctx.Err()
		case <-tick.C:
		}
		now, err := look()
		switch {
		case err == nil:
			what = now
		case !transient(err):
			return what, err
		}
	}
	return what, nil
}

// pitrCommands say whether an instance's log is shipped.
func (a *app) pitrCommands() *cobra.Command {
	var wait bool
	set := func(use, short, did string, rpo *int) *cobra.Command {
		return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findInstance(ctx, c, args[0])
			if err != nil {
				return err
			}
			if err := dbext.SetPITR(ctx, c, id, rpo); err != nil {
				return err
			}
			if wait {
				if err := a.awaitWindow(ctx, c, id); err != nil {
					return err
				}
			}
			return a.done(nil, did, args[0])
		})
	}
	seconds := 30
	on := set("on INSTANCE", "Ship what an instance writes, so that one can go back to any time", "the log of %s is shipped", &seconds)
	on.Flags().IntVar(&seconds, "rpo", seconds, "how many seconds the shipped log may be behind")
	on.Flags().BoolVar(&wait, "wait", false, "wait until there is a first backup to go back from")
	return group("pitr", "Point in time recovery of an instance", on,
		set("off INSTANCE", "Ship nothing any more; what was shipped stays as long as a backup needs it", "the log of %s is not shipped any more", nil))
}

// awaitWindow returns when one can go back to times from now on.
func (a *app) awaitWindow(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	open := func(w dbext.RestoreWindow) bool { return w.Open }
	_, err := watch(ctx, a.poll, dbext.Restorable{}, func(r dbext.Restorable) bool { return !slices.ContainsFunc(r.Windows, open) },
		func() (dbext.Restorable, error) { return dbext.GetRestorable(ctx, c, id) })
	return err
}

// setObjectives asks for bounds of what is lost with an instance, and of how long it takes to have it again.
func (a *app) setObjectives() *cobra.Command {
	var rpo, rto time.Duration
	var cmd *cobra.Command
	cmd = a.api("objectives INSTANCE", "Have it told when too much would be lost with an instance, or a restore takes too long", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		want := map[string]int{}
		for name, d := range map[string]time.Duration{"rpo": rpo, "rto": rto} {
			if cmd.Flags().Changed(name) {
				want[name] = int(d.Seconds())
			}
		}
		if len(want) == 0 {
			return usagef("say --rpo or --rto, such as --rpo 26h --rto 15m; 0 asks for nothing any more")
		}
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		return a.done(dbext.SetObjectives(ctx, c, id, want), "it is told when %s misses what is asked", args[0])
	})
	cmd.Flags().DurationVar(&rpo, "rpo", 0, "how old what is kept may be, such as 26h; 0: any age")
	cmd.Flags().DurationVar(&rto, "rto", 0, "how long the last restore may have taken; 0: any time")
	return cmd
}

// asked says in one line what is asked of an instance's recovery.
func asked(o dbext.Objectives) string {
	var words []string
	for _, one := range []struct {
		name    string
		seconds int
	}{{"rpo", o.RPO}, {"rto", o.RTO}} {
		if one.seconds > 0 {
			words = append(words, fmt.Sprintf("%s %s", one.name, time.Duration(one.seconds)*time.Second))
		}
	}
	return strings.Join(words, ", ")
}

func (a *app) showRestorable() *cobra.Command {
	return a.api("restorable INSTANCE", "Show to what times one can go back", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		r, err := dbext.GetRestorable(ctx, c, id)
		if err != nil {
			return err
		}
		t := table{{"from", "until", "until position", "backups", "log", "goes on"}}
		for _, w := range r.Windows {
			goesOn := "yes"
			if !w.Open {
				goesOn = "no: " + w.ClosedReason
			}
			t = append(t, []string{w.From, w.Until, w.Position, fmt.Sprint(len(w.Backups)), fmt.Sprintf("%.2f GB", float64(w.Bytes)/(1<<30)), goesOn})
		}
		return a.print(r, t)
	})
}

// restorePoint reads INSTANCE@TIME or INSTANCE@POSITION. An instance that was deleted is named by its id.
func restorePoint(ctx context.Context, c *gophercloud.ServiceClient, text string) (*dbext.RestorePoint, error) {
	ref, when, found := strings.Cut(text, "@")
	if !found || ref == "" || when == "" {
		return nil, usagef("--restore-point is like orders@2026-11-29T12:00:00Z, or orders@ and a position of its log")
	}
	point := &dbext.RestorePoint{Instance: ref}
	id, err := findInstance(ctx, c, ref)
	if err == nil {
		point.Instance = id
	} else if len(ref) != len("00000000-0000-0000-0000-000000000000") {
		return nil, err
	}
	if _, err := time.Parse(time.RFC3339Nano, when); err == nil {
		point.Time = when
	} else {
		point.Position = when
	}
	return point, nil
}
