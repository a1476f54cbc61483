// Command etcd-guest is the guest of datastore etcd.
package main

import (
	"example.org/coffer-etcd"

	"github.com/cofferdb/coffer/datastores/guest"
)

func main() {
	guest.Main(etcd.Plugin())
}
