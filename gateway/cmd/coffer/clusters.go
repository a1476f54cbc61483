package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) clusterCommands() *cobra.Command {
	action := func(use, short, name string) *cobra.Command {
		return a.ofCluster(use, short, name, func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			return dbext.ActOnCluster(ctx, c, id, name, nil)
		})
	}
	return group("cluster", "Clusters: several database servers that are one",
		a.listClusters(),
		a.api("show CLUSTER", "Show a cluster and its members, by name or id", a.showCluster),
		a.createCluster(),
		a.ofCluster("delete CLUSTER", "Delete a cluster with all its members and their data", "delete", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			return dbext.DeleteCluster(ctx, c, id)
		}),
		a.growCluster(),
		a.shrinkCluster(),
		action("restart CLUSTER", "Restart all members, one after the other", "restart"),
		a.ofCluster("upgrade CLUSTER VERSION", "Bring all members to another version, one after the other", "upgrade",
			func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
				return dbext.ActOnCluster(ctx, c, id, "upgrade", map[string]string{"datastore_version": args[0]})
			}),
		action("mend CLUSTER", "Go on with what failed half way", "mend"),
		a.resetCluster(),
		a.api("watch CLUSTER", "Follow what is being done to a cluster until it ends", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findCluster(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.settle(ctx, c, id, "operation", a.out)
		}),
		group("configuration", "The configuration group that all members use",
			a.ofCluster("attach CLUSTER CONFIGURATION", "Have all members use a configuration group, one after the other", "configuration_attach",
				func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
					group, err := findConfiguration(ctx, c, args[0])
					if err != nil {
						return err
					}
					return dbext.ActOnCluster(ctx, c, id, "configuration_attach", map[string]string{"configuration_id": group})
				}),
			action("detach CLUSTER", "Have all members use no configuration group", "configuration_detach"),
		),
		a.clusterRoot(),
	)
}

// findCluster turns a name or id into an id.
func findCluster(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	return find("cluster", ref, func() ([]dbext.Cluster, error) { return dbext.ListClusters(ctx, c) },
		func(in dbext.Cluster) (string, string) { return in.ID, in.Name })
}

func (a *app) listClusters() *cobra.Command {
	var everyProject bool
	cmd := a.api("list", "List the project's clusters", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
		list, head := dbext.ListClusters, []string{"id", "name", "task", "datastore", "members"}
		if everyProject {
			list, head = dbext.ListAllClusters, append(head, "project")
		}
		all, err := list(ctx, c)
		if err != nil {
			return err
		}
		t := table{head}
		for _, one := range all {
			row := []string{one.ID, one.Name, one.Task.Name, one.Datastore.Type + " " + one.Datastore.Version, strconv.Itoa(len(one.Members))}
			if everyProject {
				row = append(row, one.Project)
			}
			t = append(t, row)
		}
		return a.print(all, t)
	})
	cmd.Flags().BoolVar(&everyProject, "all-projects", false, "those of every project (admin)")
	return cmd
}

func (a *app) showCluster(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
	id, err := findCluster(ctx, c, args[0])
	if err != nil {
		return err
	}
	one, err := dbext.GetCluster(ctx, c, id)
	if err != nil {
		return err
	}
	return a.print(one, clusterView(one))
}

// clusterView is a cluster, and below it its members.
type clusterView dbext.Cluster

func (v clusterView) write(w io.Writer) {
	f := fields{
		{"id", v.ID}, {"name", v.Name}, {"task", v.Task.Name}, {"datastore", v.Datastore.Type + " " + v.Datastore.Version}, {"locality", v.Locality},
		{"configuration", refs(v.Configuration)}, {"created", v.Created.String()}, {"updated", v.Updated.String()}, {"root password", v.Password},
	}
	if n := v.Extended["replicas"]; n > 0 {
		f = append(f, [2]string{"replicas of each part", strconv.Itoa(n)})
	}
	f = append(f, connections(v.Connections)...)
	if v.Fault != nil {
		f = append(f, [2]string{"fault", v.Fault.Created.String() + " " + v.Fault.Message})
	}
	f.write(w)
	fmt.Fprintln(w)
	t := table{{"member", "name", "status", "shard", "flavor", "volume", "address"}}
	for _, m := range v.Members {
		t = append(t, []string{m.ID, m.Name, m.Status, m.Shard, m.Flavor.ID, volume(dbext.Instance{Volume: m.Volume}), strings.Join(m.IP, ", ")})
	}
	t.write(w)
}

// ofCluster makes a command that begins an operation of a cluster and, with --wait, waits for its end.
func (a *app) ofCluster(use, short, operation string, begin beginning) *cobra.Command {
	var wait bool
	cmd := a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findCluster(ctx, c, args[0])
		if err != nil {
			return err
		}
		if err := begin(ctx, c, id, args[1:]); err != nil {
			return err
		}
		if !wait {
			a.say("%s of %s has begun; `coffer cluster watch %s` follows it", operation, args[0], args[0])
			return nil
		}
		return a.settle(ctx, c, id, operation, a.errs)
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is done")
	return cmd
}

// settle tells what is being done to a cluster until nothing is any more. It fails when that has failed. A cluster that is gone has been
// deleted.
func (a *app) settle(ctx context.Context, c *gophercloud.ServiceClient, id, operation string, w io.Writer) error {
	tick := time.NewTicker(a.poll)
	defer tick.Stop()
	told := ""
	for {
		one, err := dbext.GetCluster(ctx, c, id)
		switch {
		case gophercloud.ResponseCodeIs(err, http.StatusNotFound) && (operation == "delete" || told != ""):
			tell(w, "the cluster has been deleted")
			return nil
		case err != nil && !transient(err):
			return err
		case err == nil && !one.Busy() && one.Fault != nil:
			return fmt.Errorf("%s failed: %s", operation, one.Fault.Message)
		case err == nil && !one.Busy():
			tell(w, "the cluster is well")
			return nil
		case err == nil:
			if now := one.Task.Description + states(one.Members); now != told {
				told = now
				tell(w, now)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func tell(w io.Writer, what string) {
	fmt.Fprintf(w, "%s  %s\n", time.Now().Format(time.TimeOnly), plain(what))
}

// states are those of the members that are not ACTIVE.
func states(members []dbext.Member) string {
	var all []string
	for _, m := range members {
		if m.Status != "ACTIVE" {
			all = append(all, m.Name+" "+m.Status)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " Members: " + strings.Join(all, ", ") + "."
}

// memberFlags say what new members are made of.
type memberFlags struct {
	members int
	zones   []string
	modules []string
}

func (f *memberFlags) add(cmd *cobra.Command, usual int) {
	cmd.Flags().IntVar(&f.members, "members", usual, "how many")
	cmd.Flags().StringSliceVar(&f.zones, "availability-zone", nil, "zone that a host must be in; of several each member has the next one in turn")
	cmd.Flags().StringSliceVar(&f.modules, "module", nil, "module that each begins with, by name or id; may be repeated")
}

// each makes the members, all as the given one.
func (f *memberFlags) each(ctx context.Context, c *gophercloud.ServiceClient, one dbext.MemberOpts) ([]dbext.MemberOpts, error) {
	if f.members < 1 {
		return nil, usagef("--members %d: want 1 or more", f.members)
	}
	for _, ref := range f.modules {
		id, err := findModule(ctx, c, ref)
		if err != nil {
			return nil, err
		}
		one.Modules = append(one.Modules, dbext.ModuleRef{ID: id})
	}
	all := slices.Repeat([]dbext.MemberOpts{one}, f.members)
	for i := range all {
		if len(f.zones) > 0 {
			all[i].Zone = f.zones[i%len(f.zones)]
		}
	}
	return all, nil
}

func (a *app) createCluster() *cobra.Command {
	var opts dbext.ClusterOpts
	var f memberFlags
	var flavor, configuration, backup string
	var size, replicas int
	var allowed []string
	var wait bool
	cmd := a.api("create NAME", "Create a cluster", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) (err error) {
		switch {
		case opts.Datastore.Type == "" && backup == "":
			return usagef("which --datastore? `coffer datastore list` shows what there is")
		case flavor == "":
			return usagef("which --flavor? `coffer flavor list` shows what there is")
		}
		opts.Name = args[0]
		var one dbext.MemberOpts
		if one.Flavor, err = findFlavor(ctx, c, flavor); err != nil {
			return err
		}
		if size != 0 {
			one.Volume = &dbext.Volume{Size: size}
		}
		if len(allowed) > 0 {
			one.Access = &dbext.Access{AllowedCIDRs: allowed}
		}
		if opts.Members, err = f.each(ctx, c, one); err != nil {
			return err
		}
		if configuration != "" {
			if opts.Configuration, err = findConfiguration(ctx, c, configuration); err != nil {
				return err
			}
		}
		if backup != "" {
			opts.RestorePoint = &dbext.ClusterOrigin{}
			if opts.RestorePoint.Backup, err = findBackup(ctx, c, backup); err != nil {
				return err
			}
		}
		if replicas > 0 {
			opts.Extended = map[string]int{"replicas": replicas}
		}
		made, err := dbext.CreateCluster(ctx, c, opts)
		if err != nil {
			return err
		}
		return a.createdCluster(ctx, c, made, wait)
	})
	cmd.Example = `  coffer cluster create ring --datastore redis --flavor tiny --size 1 --members 3 --wait
  coffer cluster create ring --datastore redis --flavor tiny --size 1 --members 6 --replicas 1 --wait`
	f.add(cmd, 3)
	flags := cmd.Flags()
	flags.StringVar(&opts.Datastore.Type, "datastore", "", "datastore; clusters are not of all")
	flags.StringVar(&opts.Datastore.Version, "version", "", "datastore version; the datastore's default when left out")
	flags.StringVar(&flavor, "flavor", "", "flavor of each member, by name or id")
	flags.IntVar(&size, "size", 0, "size of each member's volume in GB; 0 for a datastore without volumes")
	flags.IntVar(&replicas, "replicas", 0, "how many of the members have a copy of what another one has, for each part of the data; --members is a multiple of that and 1")
	flags.StringSliceVar(&allowed, "allowed-cidr", nil, "network that may reach the ports; may be repeated")
	flags.StringVar(&configuration, "configuration", "", "configuration group that all use, by name or id")
	flags.StringVar(&backup, "backup", "", "backup that it begins with, by name or id")
	flags.StringVar(&opts.Locality, "locality", "", "where members go: affinity, to one host, or anti-affinity, each to another, or the create fails; spread out as far as there are hosts when left out")
	flags.BoolVar(&wait, "wait", false, "wait until it can be used")
	return cmd
}

// createdCluster prints a new cluster: at once, or when it is well. What is told only once is told before the waiting.
func (a *app) createdCluster(ctx context.Context, c *gophercloud.ServiceClient, made dbext.Cluster, wait bool) error {
	if !wait || a.output != "json" {
		if err := a.print(made, clusterView(made)); err != nil || !wait {
			return err
		}
	}
	err := a.settle(ctx, c, made.ID, "create", a.errs)
	if a.output == "json" {
		if now, showErr := dbext.GetCluster(ctx, c, made.ID); showErr == nil {
			now.Password = made.Password
			made = now
		}
		if printErr := a.print(made, nil); printErr != nil {
			return printErr
		}
	}
	return err
}

func (a *app) growCluster() *cobra.Command {
	var f memberFlags
	cmd := a.ofCluster("grow CLUSTER", "Add members to a cluster, each as large as those that are there", "grow", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
		one, err := dbext.GetCluster(ctx, c, id)
		if err != nil || len(one.Members) == 0 {
			return err
		}
		like := dbext.MemberOpts{Flavor: one.Members[0].Flavor.ID}
		if v := one.Members[0].Volume; v != nil {
			like.Volume = &dbext.Volume{Size: v.Size}
		}
		more, err := f.each(ctx, c, like)
		if err != nil {
			return err
		}
		return dbext.Grow(ctx, c, id, more)
	})
	f.add(cmd, 1)
	return cmd
}

func (a *app) shrinkCluster() *cobra.Command {
	var lost bool
	cmd := a.ofCluster("shrink CLUSTER MEMBER…", "Take members out of a cluster, by name or id, and delete them", "shrink", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
		one, err := dbext.GetCluster(ctx, c, id)
		if err != nil {
			return err
		}
		var going []string
		for _, ref := range args {
			at := slices.IndexFunc(one.Members, func(m dbext.Member) bool { return m.ID == ref || m.Name == ref })
			if at < 0 {
				return notFoundf("cluster %s has no member %q; `coffer cluster show %s` shows what it has", one.Name, ref, one.Name)
			}
			going = append(going, one.Members[at].ID)
		}
		return dbext.Shrink(ctx, c, id, going, lost)
	})
	cmd.Flags().BoolVar(&lost, "lost", false, "they are not connected and will not be back: do not ask them, and give up what they alone had")
	return cmd
}

func (a *app) resetCluster() *cobra.Command {
	var force bool
	cmd := a.api("reset CLUSTER", "Give up what is being done to a cluster (admin)", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findCluster(ctx, c, args[0])
		if err != nil {
			return err
		}
		what := "reset the status of %s"
		if force {
			what = "reset the status of %s, which is being deleted"
		}
		return a.done(dbext.ActOnCluster(ctx, c, id, "reset-status", map[string]bool{"force_delete": force}), what, args[0])
	})
	cmd.Flags().BoolVar(&force, "force-delete", false, "then delete the cluster; its project's members may do that, too")
	return cmd
}

func (a *app) clusterRoot() *cobra.Command {
	in := func(use, short string, run beginning) *cobra.Command {
		return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findCluster(ctx, c, args[0])
			if err != nil {
				return err
			}
			return run(ctx, c, id, args[1:])
		})
	}
	var stdin bool
	enable := in("enable CLUSTER", "Let the superuser in at all members; the password is made up and printed once", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
		return a.letRootIn(stdin, func(password string) (dbext.Root, error) { return dbext.EnableClusterRoot(ctx, c, id, password) })
	})
	enable.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from the standard input")
	return group("root", "The superuser of a cluster", enable,
		in("show CLUSTER", "Tell whether the superuser may log in", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			enabled, err := dbext.ClusterRoot(ctx, c, id)
			if err != nil {
				return err
			}
			return a.print(map[string]bool{"rootEnabled": enabled}, fields{{"root enabled", yesNo(enabled)}})
		}),
	)
}
