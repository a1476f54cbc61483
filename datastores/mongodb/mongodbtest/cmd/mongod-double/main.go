// Command mongod-double is the double of mongod, mongodump and mongorestore, see package double.
package main

import (
	"os"

	"github.com/cofferdb/coffer/datastores/mongodb/mongodbtest/double"
)

func main() { os.Exit(double.Main()) }
