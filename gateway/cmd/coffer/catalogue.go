package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) datastoreCommands() *cobra.Command {
	return group("datastore", "Datastores and their versions",
		a.api("list", "List what is on offer", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
			all, err := dbext.ListDatastores(ctx, c)
			if err != nil {
				return err
			}
			t := table{{"name", "default", "versions", "description"}}
			for _, d := range all {
				t = append(t, []string{d.Name, defaultVersion(d), versionNames(d), d.Description})
			}
			return a.print(all, t)
		}),
		a.api("show DATASTORE", "Show a datastore, by name or id", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			d, err := dbext.GetDatastore(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.print(d, fields{
				{"id", d.ID}, {"name", d.Name}, {"description", d.Description}, {"default version", defaultVersion(d)}, {"versions", versionNames(d)},
			})
		}),
		group("version", "Versions of a datastore",
			a.api("list DATASTORE", "List a datastore's versions", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
				d, err := dbext.GetDatastore(ctx, c, args[0])
				if err != nil {
					return err
				}
				t := table{{"id", "name", "server", "active"}}
				for _, v := range d.Versions {
					t = append(t, []string{v.ID, v.Name, v.Number, yesNo(v.Active == nil || *v.Active)})
				}
				return a.print(d.Versions, t)
			}),
		),
	)
}

func defaultVersion(d dbext.DatastoreInfo) string {
	for _, v := range d.Versions {
		if v.ID == d.DefaultVersion {
			return v.Name
		}
	}
	return d.DefaultVersion
}

func versionNames(d dbext.DatastoreInfo) string {
	var all []string
	for _, v := range d.Versions {
		all = append(all, v.Name)
	}
	return strings.Join(all, ", ")
}

func (a *app) flavorCommands() *cobra.Command {
	return group("flavor", "Sizes of instances",
		a.api("list", "List the flavors, the smallest first", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
			all, err := dbext.ListFlavors(ctx, c)
			if err != nil {
				return err
			}
			t := table{{"id", "name", "memory", "processors", "disk"}}
			for _, f := range all {
				t = append(t, []string{f.ID, f.Name, fmt.Sprintf("%d MB", f.RAM), strconv.Itoa(f.VCPUs), fmt.Sprintf("%d GB", f.Disk)})
			}
			return a.print(all, t)
		}),
	)
}

// findFlavor turns a name or id into an id.
func findFlavor(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	all, err := dbext.ListFlavors(ctx, c)
	if err != nil {
		return "", err
	}
	var known []string
	for _, f := range all {
		if f.ID == ref || f.Name == ref {
			return f.ID, nil
		}
		known = append(known, f.Name)
	}
	return "", notFoundf("there is no flavor %q; there are: %s", ref, strings.Join(known, ", "))
}

func (a *app) quotaCommands() *cobra.Command {
	return group("quota", "Limits of projects and what they use",
		a.api("show [PROJECT]", "Show a project's quota; one's own without an argument", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			project := append(args, projectOf(c))[0]
			all, err := dbext.GetQuotas(ctx, c, project)
			if err != nil {
				return err
			}
			t := table{{"resource", "in use", "limit"}}
			for _, q := range all {
				t = append(t, []string{q.Resource, strconv.Itoa(q.InUse), limit(q.Limit)})
			}
			return a.print(all, t)
		}),
		a.setQuota(),
	)
}

func limit(n int) string {
	if n < 0 {
		return "none"
	}
	return strconv.Itoa(n)
}

func (a *app) setQuota() *cobra.Command {
	resources := []string{"instances", "ram", "volumes", "backups"}
	var cmd *cobra.Command
	cmd = a.api("set PROJECT", "Change a project's limits", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		limits := map[string]int{}
		for _, name := range resources {
			if cmd.Flags().Changed(name) {
				limits[name], _ = cmd.Flags().GetInt(name)
			}
		}
		if len(limits) == 0 {
			return usagef("nothing to change: give one of --%s", strings.Join(resources, ", --"))
		}
		return a.done(dbext.SetQuotas(ctx, c, args[0], limits), "changed the quota of %s", args[0])
	})
	for i, unit := range []string{"instances", "MB of memory", "GB of volumes", "backups"} {
		cmd.Flags().Int(resources[i], 0, "how many "+unit+"; -1 for no limit")
	}
	return cmd
}

func (a *app) limitsCommand() *cobra.Command {
	return a.api("limits", "Show the project's limits", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
		limits, err := dbext.GetLimits(ctx, c)
		if err != nil {
			return err
		}
		f := fields{}
		for name, value := range limits {
			if n, ok := value.(float64); ok {
				f = append(f, [2]string{name, limit(int(n))})
			}
		}
		slices.SortFunc(f, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
		return a.print(limits, f)
	})
}
