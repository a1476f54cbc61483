// Command influxdb-guest is the guest of datastore influxdb.
package main

import (
	"example.org/coffer-influxdb"

	"github.com/cofferdb/coffer/datastores/guest"
)

func main() {
	guest.Main(influxdb.Plugin())
}
