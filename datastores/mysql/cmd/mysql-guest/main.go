// Command mysql-guest is the guest of MariaDB servers: `mysql-guest describe`, `mysql-guest run -config FILE`.
package main

import (
	"github.com/cofferdb/coffer/datastores/guest"
	"github.com/cofferdb/coffer/datastores/mysql"
)

func main() { guest.Main(mysql.Plugin()) }
