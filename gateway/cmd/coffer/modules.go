package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) moduleCommands() *cobra.Command {
	return group("module", "Modules: files and more that go along with servers",
		a.createModule(),
		a.api("list", "List the modules of the project and those of all", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
			all, err := dbext.ListModules(ctx, c)
			if err != nil {
				return err
			}
			t := table{{"id", "name", "type", "of", "datastore", "instances", "md5"}}
			for _, m := range all {
				t = append(t, []string{m.ID, m.Name, m.Type, m.Tenant, m.Datastore + " " + m.Version, strconv.Itoa(m.Instances), m.MD5})
			}
			return a.print(all, t)
		}),
		a.inModule("show MODULE", "Show a module, but for what is in it", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			m, err := dbext.GetModule(ctx, c, id)
			if err != nil {
				return err
			}
			return a.print(m, moduleFields(m))
		}),
		a.updateModule(),
		a.inModule("delete MODULE", "Delete a module that no instance has", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			return a.done(dbext.DeleteModule(ctx, c, id), "deleted %s", id)
		}),
		a.inModule("instances MODULE", "List the instances that have a module", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			all, err := dbext.ListModuleInstances(ctx, c, id)
			if err != nil {
				return err
			}
			t := table{{"id", "name", "status"}}
			for _, in := range all {
				t = append(t, []string{in.ID, in.Name, in.Status})
			}
			return a.print(all, t)
		}),
		a.reapplyModule(),
		a.inInstance("applied INSTANCE", "List the modules that an instance has", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			all, err := dbext.ListApplied(ctx, c, id)
			if err != nil {
				return err
			}
			return a.printApplied(all)
		}),
		a.inInstance("apply INSTANCE MODULE…", "Bring modules to an instance, also those that it has and that were changed", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			var ids []string
			for _, ref := range args {
				module, err := findModule(ctx, c, ref)
				if err != nil {
					return err
				}
				ids = append(ids, module)
			}
			all, err := dbext.ApplyModules(ctx, c, id, ids)
			if err != nil {
				return err
			}
			if err := a.printApplied(all); err != nil {
				return err
			}
			for _, m := range all {
				if m.Status == "ERROR" {
					return fmt.Errorf("%s could not be applied: %s", m.Name, m.Message)
				}
			}
			return nil
		}),
		a.inInstance("remove INSTANCE MODULE", "Take a module from an instance", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			module, err := findModule(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(dbext.RemoveModule(ctx, c, id, module), "removed %s", args[0])
		}),
	)
}

// inModule makes a command whose first argument is a module; run gets its id and the other arguments.
func (a *app) inModule(use, short string, run func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error) *cobra.Command {
	return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findModule(ctx, c, args[0])
		if err != nil {
			return err
		}
		return run(ctx, c, id, args[1:])
	})
}

// findModule turns a name or id into an id.
func findModule(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	return find("module", ref, func() ([]dbext.Module, error) { return dbext.ListModules(ctx, c) },
		func(m dbext.Module) (string, string) { return m.ID, m.Name })
}

func moduleFields(m dbext.Module) fields {
	return fields{
		{"id", m.ID}, {"name", m.Name}, {"type", m.Type}, {"description", m.Description}, {"of", m.Tenant}, {"datastore", m.Datastore + " " + m.Version},
		{"md5", m.MD5}, {"instances", strconv.Itoa(m.Instances)}, {"live update", yesNo(m.LiveUpdate)}, {"auto apply", yesNo(m.AutoApply)},
		{"order", strconv.Itoa(m.ApplyOrder)}, {"an admin's", yesNo(m.IsAdmin)}, {"visible", yesNo(m.Visible)}, {"reapplying", yesNo(m.Reapplying)},
		{"created", m.Created.String()}, {"updated", m.Updated.String()},
	}
}

func (a *app) printApplied(all []dbext.Module) error {
	t := table{{"id", "name", "type", "status", "outdated", "message"}}
	for _, m := range all {
		t = append(t, []string{m.ID, m.Name, m.Type, m.Status, yesNo(m.Outdated), m.Message})
	}
	return a.print(all, t)
}

// moduleFlags are the fields of a module, each sent when it is given.
type moduleFlags struct{ flags *pflag.FlagSet }

func (f *moduleFlags) on(flags *pflag.FlagSet) {
	f.flags = flags
	flags.String("description", "", "what it is for")
	flags.String("datastore", "", "datastore that it is for; any when left out")
	flags.String("version", "", "version of the datastore; any when left out")
	flags.Int("order", 5, "when it is applied: 0 first, 9 last")
	flags.Bool("live-update", false, "it may be changed while instances have it")
	flags.Bool("auto-apply", false, "new instances get it; admins only")
	flags.Bool("all-projects", false, "every project may apply it; admins only")
	flags.Bool("visible", true, "others than admins see it; admins only")
	flags.Bool("priority", false, "it is applied before others; admins only")
	flags.Bool("full-access", false, "its project may change it, though an admin has made it; admins only")
}

// given are the fields of the flags that were given.
func (f *moduleFlags) given() map[string]any {
	given, datastore := map[string]any{}, map[string]any{}
	names := map[string]string{
		"description": "description", "order": "apply_order", "live-update": "live_update", "auto-apply": "auto_apply", "all-projects": "all_tenants",
		"visible": "visible", "priority": "priority_apply", "full-access": "full_access",
	}
	f.flags.Visit(func(flag *pflag.Flag) {
		switch name := names[flag.Name]; {
		case flag.Name == "datastore":
			datastore["type"] = flag.Value.String()
		case flag.Name == "version":
			datastore["version"] = flag.Value.String()
		case name == "":
		case flag.Value.Type() == "bool":
			given[name] = map[string]int{"true": 1, "false": 0}[flag.Value.String()]
		case flag.Value.Type() == "int":
			given[name], _ = strconv.Atoi(flag.Value.String())
		default:
			given[name] = flag.Value.String()
		}
	})
	if len(datastore) > 0 {
		given["datastore"] = datastore
	}
	return given
}

// contents reads what is to be in a module: a file, or with "-" the standard input.
func (a *app) contents(file string) (string, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 1<<20)) // the gateway says how much it may be
	if err != nil {
		return "", fmt.Errorf("cannot read what is to be in the module: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

func (a *app) createModule() *cobra.Command {
	var f moduleFlags
	cmd := a.api("create NAME TYPE FILE", "Make a module of what is in a file, or with - in the standard input", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		text, err := a.contents(args[2])
		if err != nil {
			return err
		}
		given := f.given()
		given["name"], given["module_type"], given["contents"] = args[0], strings.ToLower(args[1]), text
		m, err := dbext.CreateModule(ctx, c, given)
		if err != nil {
			return err
		}
		return a.print(m, moduleFields(m))
	})
	cmd.Example = `  coffer module create licence.key key_file licence.key --live-update
  coffer module apply orders licence.key`
	f.on(cmd.Flags())
	return cmd
}

func (a *app) updateModule() *cobra.Command {
	var f moduleFlags
	var name, file string
	cmd := a.inModule("update MODULE", "Change what is given of a module", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) (err error) {
		given := f.given()
		if name != "" {
			given["name"] = name
		}
		if file != "" {
			if given["contents"], err = a.contents(file); err != nil {
				return err
			}
		}
		if len(given) == 0 {
			return usagef("nothing to change")
		}
		m, err := dbext.UpdateModule(ctx, c, id, given)
		if err != nil {
			return err
		}
		return a.print(m, moduleFields(m))
	})
	f.on(cmd.Flags())
	cmd.Flags().StringVar(&name, "name", "", "another name")
	cmd.Flags().StringVar(&file, "file", "", "file with what is to be in it; - is the standard input")
	return cmd
}

func (a *app) reapplyModule() *cobra.Command {
	var md5 string
	var batch, delay int
	var force, clustered bool
	cmd := a.inModule("reapply MODULE", "Apply a module again to the instances that have something else than what is in it now", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
		given := map[string]any{"batch_size": batch, "batch_delay": delay}
		if md5 != "" {
			given["md5"] = md5
		}
		if force {
			given["force"] = 1
		}
		if clustered {
			given["include_clustered"] = 1
		}
		return a.done(dbext.ReapplyModule(ctx, c, id, given), "%s is being applied again", id)
	})
	cmd.Flags().StringVar(&md5, "md5", "", "to those alone that have this")
	cmd.Flags().IntVar(&batch, "batch-size", 50, "how many at a time")
	cmd.Flags().IntVar(&delay, "batch-delay", 2, "seconds between two batches")
	cmd.Flags().BoolVar(&force, "force", false, "also to those that have what is in it now")
	cmd.Flags().BoolVar(&clustered, "include-clustered", false, "also to members of clusters")
	return cmd
}
