package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) configurationCommands() *cobra.Command {
	return group("configuration", "Configuration groups: parameters for instances",
		a.createConfiguration(),
		a.api("list", "List the project's configuration groups", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
			all, err := dbext.ListConfigurations(ctx, c)
			if err != nil {
				return err
			}
			t := table{{"id", "name", "datastore", "description"}}
			for _, g := range all {
				t = append(t, []string{g.ID, g.Name, g.Datastore + " " + g.DatastoreVersion, g.Description})
			}
			return a.print(all, t)
		}),
		a.inConfiguration("show CONFIGURATION", "Show a group with its values", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			g, err := dbext.GetConfiguration(ctx, c, id)
			if err != nil {
				return err
			}
			return a.print(g, configurationFields(g))
		}),
		a.setConfiguration(),
		a.inConfiguration("patch CONFIGURATION PARAMETER=VALUE…", "Change some of a group's values", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			g, err := dbext.GetConfiguration(ctx, c, id)
			if err != nil {
				return err
			}
			values, err := valuesOf(ctx, c, g.Datastore, g.DatastoreVersion, args)
			if err != nil {
				return err
			}
			return a.done(dbext.PatchConfiguration(ctx, c, id, values), "changed %s", g.Name)
		}),
		a.inConfiguration("delete CONFIGURATION", "Delete a group that is attached to no instance", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			return a.done(dbext.DeleteConfiguration(ctx, c, id), "deleted %s", id)
		}),
		a.inConfiguration("instances CONFIGURATION", "List the instances that a group is attached to", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			all, err := dbext.ListConfigured(ctx, c, id)
			if err != nil {
				return err
			}
			t := table{{"id", "name"}}
			for _, in := range all {
				t = append(t, []string{in.ID, in.Name})
			}
			return a.print(all, t)
		}),
		a.inInstance("attach INSTANCE CONFIGURATION", "Let a group configure an instance; some parameters wait for a restart", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			group, err := findConfiguration(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(dbext.AttachConfiguration(ctx, c, id, group), "attached %s", args[0])
		}),
		a.inInstance("detach INSTANCE", "Take the group from an instance", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			in, err := dbext.GetInstance(ctx, c, id)
			if err == nil && in.Configuration == nil {
				return fmt.Errorf("%s has no configuration group", in.Name)
			}
			if err == nil {
				err = dbext.AttachConfiguration(ctx, c, id, "")
			}
			return a.done(err, "detached %s from %s", refs(in.Configuration), in.Name)
		}),
	)
}

// inConfiguration makes a command whose first argument is a group; run gets its id and the other arguments.
func (a *app) inConfiguration(use, short string, run func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error) *cobra.Command {
	return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findConfiguration(ctx, c, args[0])
		if err != nil {
			return err
		}
		return run(ctx, c, id, args[1:])
	})
}

// findConfiguration turns a name or id into an id.
func findConfiguration(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	return find("configuration", ref, func() ([]dbext.Configuration, error) { return dbext.ListConfigurations(ctx, c) },
		func(g dbext.Configuration) (string, string) { return g.ID, g.Name })
}

func configurationFields(g dbext.Configuration) fields {
	f := fields{
		{"id", g.ID}, {"name", g.Name}, {"description", g.Description}, {"datastore", g.Datastore + " " + g.DatastoreVersion},
		{"created", g.Created.String()}, {"updated", g.Updated.String()},
	}
	if g.Instances != nil {
		f = append(f, [2]string{"instances", strconv.Itoa(*g.Instances)})
	}
	for _, name := range slices.Sorted(maps.Keys(g.Values)) {
		f = append(f, [2]string{name, fmt.Sprint(g.Values[name])})
	}
	return f
}

func (a *app) createConfiguration() *cobra.Command {
	var datastore, version, description string
	cmd := a.api("create NAME PARAMETER=VALUE…", "Make a configuration group", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		if datastore == "" {
			return usagef("which --datastore? `coffer datastore list` shows what there is")
		}
		version, err := versionOf(ctx, c, datastore, version)
		if err != nil {
			return err
		}
		values, err := valuesOf(ctx, c, datastore, version, args[1:])
		if err != nil {
			return err
		}
		g, err := dbext.CreateConfiguration(ctx, c, dbext.ConfigurationOpts{
			Name: args[0], Description: description, Values: values,
			Datastore: &dbext.DatastoreSelector{Type: datastore, Version: version},
		})
		if err != nil {
			return err
		}
		return a.print(g, configurationFields(g))
	})
	cmd.Example = `  coffer configuration create tuned --datastore mariadb max_connections=200 innodb_flush_method=O_DIRECT`
	cmd.Flags().StringVar(&datastore, "datastore", "", "datastore")
	cmd.Flags().StringVar(&version, "version", "", "datastore version; the datastore's default when left out")
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	return cmd
}

func (a *app) setConfiguration() *cobra.Command {
	var name, description string
	var clear bool
	var cmd *cobra.Command
	cmd = a.inConfiguration("set CONFIGURATION [PARAMETER=VALUE…]", "Replace a group's values; give it another name or description", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
		var to dbext.ConfigurationChange
		if cmd.Flags().Changed("name") {
			to.Name = &name
		}
		if cmd.Flags().Changed("description") {
			to.Description = &description
		}
		if clear && len(args) > 0 {
			return usagef("--clear or values, not both")
		}
		if clear || len(args) > 0 {
			g, err := dbext.GetConfiguration(ctx, c, id)
			if err != nil {
				return err
			}
			values, err := valuesOf(ctx, c, g.Datastore, g.DatastoreVersion, args)
			if err != nil {
				return err
			}
			to.Values = &values
		}
		if to == (dbext.ConfigurationChange{}) {
			return usagef("nothing to change: give values, --clear, --name or --description")
		}
		return a.done(dbext.SetConfiguration(ctx, c, id, to), "changed %s", id)
	})
	cmd.Flags().StringVar(&name, "name", "", "new name")
	cmd.Flags().StringVar(&description, "description", "", "new description")
	cmd.Flags().BoolVar(&clear, "clear", false, "take all values away")
	return cmd
}
