package main

import (
	"context"
	"fmt"
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
				t := table{{"id", "name", "server", "active", "no host can serve it"}}
				for _, v := range d.Versions {
					t = append(t, []string{v.ID, v.Name, v.Number, yesNo(v.Active == nil || *v.Active), v.Unserved})
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
