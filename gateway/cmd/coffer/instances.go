package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/instances"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) instanceCommands() *cobra.Command {
	return group("instance", "Database instances",
		a.listInstances(),
		a.showInstance(),
		a.createInstance(),
		a.deleteInstance(),
		a.protect("protect INSTANCE", "Protect an instance from deletion", true),
		a.protect("unprotect INSTANCE", "Let a protected instance be deleted", false),
		a.waiting("restart INSTANCE", "Restart an instance's database server", "restart", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			return instances.Restart(ctx, c, id).ExtractErr()
		}),
		a.resizeInstance(),
		a.upgradeInstance(),
		a.migrateInstance(),
		a.followSource(),
		a.promoteReplica(),
		a.ejectSource(),
		a.failoverOf(),
		a.waiting("detach-replica REPLICA", "Make a replica an instance of its own", "detach", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			return dbext.DetachReplica(ctx, c, id)
		}),
		a.api("rename INSTANCE NAME", "Give an instance another name", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findInstance(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(dbext.RenameInstance(ctx, c, id, args[1]), "renamed %s to %s", args[0], args[1])
		}),
		a.api("reset INSTANCE", "Give up what is being done to an instance", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findInstance(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(dbext.ResetStatus(ctx, c, id), "reset the status of %s", args[0])
		}),
		a.setObjectives(),
		a.pitrCommands(),
		a.showRestorable(),
		a.sslCommands(),
		a.showCA(),
		a.api("why INSTANCE", "Say what is being done to an instance, since when, and what it waits for", a.why),
		a.api("events INSTANCE", "Print an instance's timeline", a.events),
		a.api("watch INSTANCE", "Follow an instance's timeline until its operation ends", a.watch),
	)
}

func (a *app) deleteInstance() *cobra.Command {
	var backup string
	cmd := a.waiting("delete INSTANCE", "Delete an instance with its data", "delete", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
		return dbext.DeleteInstance(ctx, c, id, backup)
	})
	cmd.Flags().StringVar(&backup, "final-backup", "", "make a backup of this name first; when that fails, the instance stays")
	return cmd
}

func (a *app) protect(use, short string, protected bool) *cobra.Command {
	return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		what := "%s is protected from deletion"
		if !protected {
			what = "%s can be deleted"
		}
		return a.done(dbext.Protect(ctx, c, id, protected), what, args[0])
	})
}

// done reports what was done, unless it failed.
func (a *app) done(err error, format string, args ...any) error {
	if err == nil {
		a.say(format, args...)
	}
	return err
}

// findInstance turns a name or id into an id.
func findInstance(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	return find("instance", ref, func() ([]dbext.Instance, error) { return dbext.ListInstances(ctx, c) },
		func(in dbext.Instance) (string, string) { return in.ID, in.Name })
}

func (a *app) listInstances() *cobra.Command {
	var everyProject bool
	cmd := a.api("list", "List the project's instances, the newest first", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
		list, head := dbext.ListInstances, []string{"id", "name", "status", "server", "datastore", "flavor", "volume", "address"}
		if everyProject {
			list, head = dbext.ListAllInstances, append(head, "project")
		}
		all, err := list(ctx, c)
		if err != nil {
			return err
		}
		slices.SortFunc(all, func(a, b dbext.Instance) int { return strings.Compare(b.ID, a.ID) }) // ids sort by age
		t := table{head}
		for _, in := range all {
			row := []string{
				in.ID, in.Name, in.Status, in.OperatingStatus, in.Datastore.Type + " " + in.Datastore.Version, in.Flavor.ID, volume(in), address(in),
			}
			if everyProject {
				row = append(row, in.Project)
			}
			t = append(t, row)
		}
		return a.print(all, t)
	})
	cmd.Flags().BoolVar(&everyProject, "all-projects", false, "those of every project (admin)")
	return cmd
}

func (a *app) showInstance() *cobra.Command {
	var asOf string
	cmd := a.api("show INSTANCE", "Show an instance, by name or id", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		if asOf != "" {
			return a.showPast(ctx, c, id, asOf)
		}
		in, err := dbext.GetInstance(ctx, c, id)
		if err != nil {
			return err
		}
		return a.print(in, instanceFields(in))
	})
	cmd.Flags().StringVar(&asOf, "as-of", "", "as it was at a time (2026-01-31T12:00:00Z), so long ago (5m), or at a revision of etcd")
	return cmd
}

func (a *app) showPast(ctx context.Context, c *gophercloud.ServiceClient, id, asOf string) error {
	if ago, err := time.ParseDuration(asOf); err == nil {
		asOf = time.Now().Add(-ago).UTC().Format(time.RFC3339Nano)
	}
	in, err := dbext.GetPastInstance(ctx, c, id, asOf)
	if err != nil {
		return err
	}
	f := append(instanceFields(in.Instance), [2]string{"as of revision", strconv.FormatInt(in.AsOf.Revision, 10)})
	if in.AsOf.Earlier > 0 {
		f = append(f, [2]string{"earlier revision", strconv.FormatInt(in.AsOf.Earlier, 10)})
	}
	return a.print(in, f)
}

func instanceFields(in dbext.Instance) fields {
	f := fields{
		{"id", in.ID}, {"name", in.Name}, {"status", in.Status}, {"server", in.OperatingStatus},
		{"datastore", in.Datastore.Type + " " + in.Datastore.Version}, {"flavor", in.Flavor.ID}, {"volume", volume(in)},
		{"address", address(in)}, {"allowed", strings.Join(in.Access.AllowedCIDRs, ", ")}, {"region", in.Region}, {"availability zone", in.Zone},
		{"replica of", refs(in.ReplicaOf)}, {"replicas", joined(in.Replicas)}, {"configuration", refs(in.Configuration)},
		{"created", in.Created.String()}, {"updated", in.Updated.String()}, {"root password", in.Password},
	}
	if in.Replication != nil {
		f = append(f, [2]string{"replication", following(*in.Replication)})
	}
	if in.Failover != nil {
		f = append(f, [2]string{"role", in.Role}, [2]string{"failover", in.Failover.String()})
	}
	f = append(f, connections(in.Connections)...)
	for _, one := range []struct {
		name string
		is   *dbext.Measured
	}{{"rpo", in.RPO}, {"rto", in.RTO}} {
		if one.is != nil {
			f = append(f, [2]string{one.name, one.is.String()})
		}
	}
	if o := in.Objectives; o != nil {
		f = append(f, [2]string{"asked", asked(*o)})
		for _, why := range slices.Sorted(maps.Values(o.Missed)) {
			f = append(f, [2]string{"missed", why})
		}
	}
	f = append(f, windowFields(in.Maintenance)...)
	if in.Protected {
		f = append(f, [2]string{"protected", "from deletion"})
	}
	if in.Warning != "" {
		f = append(f, [2]string{"warning", in.Warning})
	}
	if in.Fault != nil {
		f = append(f, [2]string{"fault", in.Fault.Created.String() + " " + in.Fault.Message})
	}
	return f
}

// connections are what clients connect with, a line for each.
func connections(all map[string]string) (f fields) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f = append(f, [2]string{"connect to " + strings.ReplaceAll(name, "_", " "), all[name]})
	}
	return f
}

// following says in one line how a replica gets on.
func following(r dbext.Replication) string {
	if !r.Follows {
		return "does not follow since " + r.Since.String() + ": " + r.Why
	}
	words := []string{"follows"}
	for _, lag := range []struct {
		n    *int64
		unit string
	}{{r.LagSeconds, "s"}, {r.LagTransactions, "transactions"}, {r.LagBytes, "bytes"}} {
		if lag.n != nil && *lag.n > 0 {
			words = append(words, fmt.Sprintf("%d %s behind", *lag.n, lag.unit))
		}
	}
	return strings.Join(words, ", ")
}

func refs(r *dbext.Ref) string {
	if r == nil {
		return ""
	}
	return joined([]dbext.Ref{*r})
}

func joined(all []dbext.Ref) string {
	var names []string
	for _, r := range all {
		names = append(names, cmp.Or(r.Name, r.ID))
	}
	return strings.Join(names, ", ")
}

func volume(in dbext.Instance) string {
	switch {
	case in.Volume == nil:
		return ""
	case in.Volume.Used == nil:
		return fmt.Sprintf("%d GB", in.Volume.Size)
	}
	return fmt.Sprintf("%d GB, %.2f used", in.Volume.Size, *in.Volume.Used)
}

func address(in dbext.Instance) string {
	var all []string
	for _, address := range in.Addresses {
		all = append(all, address.Address)
	}
	return strings.Join(all, ", ")
}

// beginning begins an operation on the instance with that id; args are what follows it on the command line.
type beginning func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error

// ending waits for the end of what was begun on the instance with that id; marker is its last event before.
type ending func(ctx context.Context, c *gophercloud.ServiceClient, id, marker string) error

// waiting makes a command that begins an operation and, with --wait, follows it to its end.
func (a *app) waiting(use, short, operation string, begin beginning) *cobra.Command {
	return a.waitingFor(use, short, operation, begin, func(ctx context.Context, c *gophercloud.ServiceClient, id, marker string) error {
		return a.follow(ctx, c, id, marker, operation, a.progress(a.errs))
	})
}

// waitingFor is waiting, for an operation with an end of its own.
func (a *app) waitingFor(use, short, operation string, begin beginning, end ending) *cobra.Command {
	var wait bool
	cmd := a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		marker := ""
		if wait {
			if marker, err = lastEvent(ctx, c, id); err != nil {
				return err
			}
		}
		if err := begin(ctx, c, id, args[1:]); err != nil {
			return err
		}
		if !wait {
			a.say("%s of %s has begun; `coffer instance watch %s` follows it", operation, args[0], args[0])
			return nil
		}
		return end(ctx, c, id, marker)
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is done")
	return cmd
}

func (a *app) resizeInstance() *cobra.Command {
	var flavor string
	var size int
	cmd := a.waiting("resize INSTANCE", "Give an instance another flavor, or a larger volume", "resize", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
		if (flavor == "") == (size == 0) {
			return usagef("--flavor or --volume, one of them")
		}
		if size != 0 {
			return instances.ResizeVolume(ctx, c, id, size).ExtractErr()
		}
		ref, err := findFlavor(ctx, c, flavor)
		if err != nil {
			return err
		}
		return instances.Resize(ctx, c, id, ref).ExtractErr()
	})
	cmd.Flags().StringVar(&flavor, "flavor", "", "flavor, by name or id; the server is restarted")
	cmd.Flags().IntVar(&size, "volume", 0, "new size of the volume in GB; it cannot shrink")
	return cmd
}

func (a *app) migrateInstance() *cobra.Command {
	var host string
	cmd := a.waiting("migrate INSTANCE", "Bring an instance to another host, where it has another address (admin)", "migrate", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
		if host == "" {
			return dbext.Migrate(ctx, c, id, "")
		}
		to, err := findHost(ctx, c, host)
		if err != nil {
			return err
		}
		return dbext.Migrate(ctx, c, id, to)
	})
	cmd.Flags().StringVar(&host, "host", "", "the host to bring it to, by name or id; without it the best that there is")
	return cmd
}

func (a *app) why(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
	id, err := findInstance(ctx, c, args[0])
	if err != nil {
		return err
	}
	why, err := dbext.GetWhy(ctx, c, id)
	if err != nil {
		return err
	}
	f := fields{
		{"status", why.Status}, {"operation", why.Operation}, {"step", why.Step}, {"since", why.Since.String()},
		{"waiting for", why.WaitingFor}, {"until", why.Deadline.String()}, {"agent connected", yesNo(why.Connected)},
		{"last contact", why.LastContact.String()}, {"fault", why.Fault}, {"in short", why.Summary},
	}
	if p := why.Progress; p != nil {
		f = append(f, [2]string{"progress", cmp.Or(p.Message, fmt.Sprintf("%d of %d %s", p.Done, p.Total, p.Unit))})
	}
	return a.print(why, f)
}

func (a *app) events(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
	id, err := findInstance(ctx, c, args[0])
	if err != nil {
		return err
	}
	all, err := dbext.ListEvents(ctx, c, id, "")
	if err != nil {
		return err
	}
	t := table{{"at", "kind", "message"}}
	for _, e := range all {
		t = append(t, []string{e.At.String(), e.Kind, e.Message})
	}
	return a.print(all, t)
}
