package guest

import (
	"context"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

func getConfiguration(_ context.Context, _ call, m datastores.Configuration, _ none) (datastores.ConfigurationReply, error) {
	return datastores.ConfigurationReply{Configuration: m.DefaultConfiguration()}, nil
}

func updateOverrides(ctx context.Context, _ call, m datastores.Configuration, args datastores.OverridesArgs) (datastores.OverridesReply, error) {
	if err := checkOverrides(m, args.Values); err != nil {
		return datastores.OverridesReply{}, err
	}
	restart, err := m.UpdateOverrides(ctx, args.Values)
	return datastores.OverridesReply{RestartRequired: restart}, err
}

// storeOverrides is what is left of updateOverrides before a restart, which brings everything that was stored.
func storeOverrides(ctx context.Context, m datastores.Manager, values datastores.Values) error {
	c, err := configurable(m)
	if err != nil {
		return err
	}
	_, err = updateOverrides(ctx, call{}, c, datastores.OverridesArgs{Values: values})
	return err
}

func configurable(m datastores.Manager) (datastores.Configuration, error) {
	c, ok := m.(datastores.Configuration)
	if !ok {
		return nil, datastores.Errorf(datastores.Unsupported, "this datastore has no parameters to set")
	}
	return c, nil
}

// checkOverrides holds values against the manager's own parameters: those that the gateway knows are of a definition, which
// an operator may have changed.
func checkOverrides(c datastores.Configuration, values datastores.Values) error {
	problems := datastores.CheckValues(c.Parameters(), values)
	if len(problems) == 0 {
		return nil
	}
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Error()
	}
	return datastores.Errorf(datastores.Invalid, "%s", strings.Join(texts, "; "))
}
