// Command couchbase-double is the double of couchbase-server and cbbackupmgr, see package double.
package main

import (
	"os"

	"github.com/cofferdb/coffer/datastores/couchbase/couchbasetest/double"
)

func main() { os.Exit(double.Main()) }
