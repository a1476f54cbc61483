package postgresql

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// upgradeObstacles are what PostgreSQL 17 does not take over from 15. Each statement is one by itself.
func upgradeObstacles() (all []datastoretest.UpgradeObstacle) {
	for _, o := range []struct {
		name, named string
		make, clear []string
	}{
		{"an extension", `"adminpack"`, []string{"CREATE EXTENSION adminpack"}, []string{"DROP EXTENSION adminpack"}},
		{"a role's setting", "force_parallel_mode of role ann",
			[]string{"CREATE ROLE ann", "ALTER ROLE ann SET force_parallel_mode = on"}, []string{"DROP ROLE ann"}},
		{"a database's setting", "force_parallel_mode of database shut",
			[]string{"CREATE DATABASE shut", "ALTER DATABASE shut SET force_parallel_mode = on"}, []string{"DROP DATABASE shut"}},
		{"a function's setting", "force_parallel_mode of function public.f in database ",
			[]string{"CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SET force_parallel_mode = on SET work_mem = '1MB' AS 'SELECT 1'"},
			[]string{"DROP FUNCTION public.f()"}},
		{"a closed database", `"shut"`,
			[]string{"CREATE DATABASE shut", "ALTER DATABASE shut ALLOW_CONNECTIONS false"}, []string{"DROP DATABASE shut"}},
		{"a column", "column r of table public.of_names", []string{"CREATE DOMAIN public.d AS regproc", "CREATE TABLE public.of_names (r public.d[])"},
			[]string{"DROP TABLE public.of_names", "DROP DOMAIN public.d"}},
		{"a slot", `"theirs"`, []string{"SELECT pg_create_physical_replication_slot('theirs')"}, []string{"SELECT pg_drop_replication_slot('theirs')"}},
	} {
		all = append(all, datastoretest.UpgradeObstacle{Name: o.name, Make: func(ctx context.Context, env datastores.Env, l datastoretest.Login) (datastoretest.Obstacle, error) {
			run := func(ctx context.Context, statements []string) error {
				return New(env, DefaultOptions()).withIn(ctx, l.Database, func(s *session) error {
					for _, statement := range statements {
						if err := s.exec(ctx, statement); err != nil {
							return err
						}
					}
					return nil
				})
			}
			return datastoretest.Obstacle{Named: o.named, Clear: func(ctx context.Context) error { return run(ctx, o.clear) }}, run(ctx, o.make)
		}})
	}
	return all
}
