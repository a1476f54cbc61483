package main

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) quotaCommands() *cobra.Command {
	return group("quota", "Limits of projects and what they use",
		a.api("show [PROJECT]", "Show a project's quota; one's own without an argument", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			project := projectOf(c)
			if len(args) > 0 {
				var err error
				if project, err = findProject(ctx, c, args[0]); err != nil {
					return err
				}
			}
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
	resources := []string{"instances", "ram", "volumes", "backups", "configurations", "backup_gigabytes", "log_gigabytes", "drills", "modules"}
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
		project, err := findProject(ctx, c, args[0])
		if err != nil {
			return err
		}
		return a.done(dbext.SetQuotas(ctx, c, project, limits), "changed the quota of %s", args[0])
	})
	for i, unit := range []string{"instances", "MB of memory", "GB of volumes", "backups", "configuration groups", "GB of backups in the store", "GB of published logs", "drills under way", "modules"} {
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

// findProject turns a project's name or id into an id. Without an identity service to ask, it is taken for an id.
func findProject(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	if c.IdentityEndpoint == "" {
		return ref, nil
	}
	keystone, err := openstack.NewIdentityV3(c.ProviderClient, gophercloud.EndpointOpts{})
	if err != nil {
		return "", err
	}
	page, err := projects.List(keystone, projects.ListOpts{Name: ref}).AllPages(ctx)
	if err != nil {
		return "", err
	}
	named, err := projects.ExtractProjects(page)
	if err != nil {
		return "", err
	}
	if len(named) > 0 {
		return named[0].ID, nil
	}
	project, err := projects.Get(ctx, keystone, ref).Extract()
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return "", notFoundf("there is no project %q", ref)
	}
	if err != nil {
		return "", err
	}
	return project.ID, nil
}
