// Command mongodb-guest is the guest of datastore mongodb.
package main

import (
	"github.com/cofferdb/coffer/datastores/guest"
	"github.com/cofferdb/coffer/datastores/mongodb"
)

func main() {
	guest.Main(mongodb.Plugin())
}
