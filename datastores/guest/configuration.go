package guest

import (
	"context"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

func getConfiguration(_ context.Context, _ call, m datastores.Configuration, _ none) (datastores.ConfigurationReply, error) {
	return datastores.ConfigurationReply{Configuration: m.DefaultConfiguration()}, nil
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
