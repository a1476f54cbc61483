// Command redis-guest is the guest of datastore redis.
package main

import (
	"github.com/cofferdb/coffer/datastores/guest"
	"github.com/cofferdb/coffer/datastores/redis"
)

func main() {
	guest.Main(redis.Plugin())
}
