package postgresql

import (
	"context"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

func TestSuite(t *testing.T) {
	datastoretest.Run(t, harness())
}

func harness() datastoretest.Harness {
	return datastoretest.Harness{
		Plugin: Plugin(),
		NewEnv: func(t *testing.T) datastores.Env { return newEnv(t) },
		Connect: func(ctx context.Context, address, user, password, database string) error {
			s, err := dial(ctx, address, user, password, database)
			if err != nil {
				return err
			}
			defer s.close()
			_, err = s.one(ctx, "SELECT 1")
			return err
		},
	}
}
