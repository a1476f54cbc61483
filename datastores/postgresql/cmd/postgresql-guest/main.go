// Command postgresql-guest is the guest of PostgreSQL servers: `postgresql-guest describe`, `postgresql-guest run -config FILE`.
package main

import (
	"github.com/cofferdb/coffer/datastores/guest"
	"github.com/cofferdb/coffer/datastores/postgresql"
)

func main() { guest.Main(postgresql.Plugin()) }
