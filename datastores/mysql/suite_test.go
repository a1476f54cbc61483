package mysql

import (
	"context"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

func TestSuite(t *testing.T) {
	datastoretest.Run(t, datastoretest.Harness{
		Plugin: Plugin(),
		NewEnv: func(t *testing.T) datastores.Env { return newEnv(t) },
		Connect: func(ctx context.Context, address, user, password, database string) error {
			db, err := dial(address, user, password, database)
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			return db.PingContext(ctx)
		},
	})
}
