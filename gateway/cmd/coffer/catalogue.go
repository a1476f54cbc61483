package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/datastores"
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

func (a *app) parametersCommand() *cobra.Command {
	return a.api("parameters DATASTORE [VERSION]", "List what configuration groups of a datastore version may set", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		version, err := versionOf(ctx, c, args[0], strings.Join(args[1:], ""))
		if err != nil {
			return err
		}
		all, err := dbext.ListParameters(ctx, c, args[0], version)
		if err != nil {
			return err
		}
		t := table{{"name", "type", "min", "max", "restart"}}
		for _, p := range all {
			t = append(t, []string{p.Name, string(p.Type), p.Min.String(), p.Max.String(), yesNo(p.RestartRequired)})
		}
		return a.print(all, t)
	})
}

// versionOf is the version that is meant: the datastore's default one when none is given.
func versionOf(ctx context.Context, c *gophercloud.ServiceClient, datastore, version string) (string, error) {
	if version != "" {
		return version, nil
	}
	d, err := dbext.GetDatastore(ctx, c, datastore)
	if err != nil {
		return "", err
	}
	if version = defaultVersion(d); version == "" {
		return "", usagef("%s has no default version; say which of %s", datastore, versionNames(d))
	}
	return version, nil
}

// valuesOf reads PARAMETER=VALUE arguments, each value as the type that its parameter has. What is wrong with them is for
// the gateway to say: a value that is not of the type, or whose parameter is not known, is sent as text.
func valuesOf(ctx context.Context, c *gophercloud.ServiceClient, datastore, version string, args []string) (datastores.Values, error) {
	values := datastores.Values{}
	if len(args) == 0 {
		return values, nil
	}
	parameters, err := dbext.ListParameters(ctx, c, datastore, version)
	if err != nil {
		return nil, err
	}
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, usagef("%q: want PARAMETER=VALUE", arg)
		}
		values[name] = text
		if i := slices.IndexFunc(parameters, func(p dbext.Parameter) bool { return p.Name == name }); i >= 0 {
			values[name] = typed(parameters[i].Type, text)
		}
	}
	return values, nil
}

func typed(t datastores.ParameterType, text string) any {
	switch {
	case t == datastores.BooleanParameter && (text == "true" || text == "false"):
		return text == "true"
	case (t == datastores.IntegerParameter || t == datastores.FloatParameter) && isNumber(text):
		return json.Number(text)
	}
	return text
}

// isNumber reports whether text is one in JSON.
func isNumber(text string) bool {
	return json.Valid([]byte(text)) && (text[0] == '-' || text[0] >= '0' && text[0] <= '9')
}
