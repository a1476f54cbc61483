// Command memcached-guest is the guest of datastore memcached.
package main

import (
	"example.org/coffer-memcached"

	"github.com/cofferdb/coffer/datastores/guest"
)

func main() {
	guest.Main(memcached.Plugin())
}
