package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

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

// isNumber tells whether text is one in JSON.
func isNumber(text string) bool {
	return json.Valid([]byte(text)) && (text[0] == '-' || text[0] >= '0' && text[0] <= '9')
}
