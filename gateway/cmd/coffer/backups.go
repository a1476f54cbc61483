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
	return group("backup", "Backups of instances",
		a.createBackup(),
		a.listBackups(),
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
		on("cancel BACKUP", "End the making of a backup", "cancelling %s", dbext.CancelBackup),
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
		{"instance", b.Instance}, {"datastore", b.Datastore.Type + " " + b.Datastore.Version}, {"strategy", b.Strategy}, {"parent", b.Parent},
		{"created", b.Created.String()}, {"updated", b.Updated.String()},
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
	var incremental, wait bool
	cmd := a.api("create INSTANCE NAME", "Make a backup of an instance", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
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
	cmd.Flags().StringVar(&parent, "parent", "", "backup to build on, by name or id: only what changed since is saved")
	cmd.Flags().BoolVar(&incremental, "incremental", false, "build on the instance's newest backup; a full one when there is none")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is complete")
	return cmd
}

// awaitBackup looks at a backup until it is made or has failed.
func (a *app) awaitBackup(ctx context.Context, c *gophercloud.ServiceClient, b dbext.Backup) (dbext.Backup, error) {
	tick := time.NewTicker(a.poll)
	defer tick.Stop()
	for b.Running() {
		select {
		case <-ctx.Done():
			return b, ctx.Err()
		case <-tick.C:
		}
		now, err := dbext.GetBackup(ctx, c, b.ID)
		switch {
		case err == nil:
			b = now
		case !transient(err):
			return b, err
		}
	}
	return b, nil
}
