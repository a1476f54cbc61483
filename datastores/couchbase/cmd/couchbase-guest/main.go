// Command couchbase-guest is the guest of datastore couchbase.
package main

import (
	"github.com/cofferdb/coffer/datastores/couchbase"
	"github.com/cofferdb/coffer/datastores/guest"
)

func main() {
	guest.Main(couchbase.Plugin())
}
