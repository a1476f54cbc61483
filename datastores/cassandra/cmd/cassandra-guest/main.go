// Command cassandra-guest is the guest of datastore cassandra.
package main

import (
	"github.com/cofferdb/coffer/datastores/cassandra"
	"github.com/cofferdb/coffer/datastores/guest"
)

func main() {
	guest.Main(cassandra.Plugin())
}
