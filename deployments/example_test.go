package deployments_test

import (
	"fmt"
	"net/netip"

	"github.com/cofferdb/coffer/deployments"
)

func ExamplePool_Free() {
	pool, err := deployments.ParsePool("127.77.0.0/16")
	if err != nil {
		fmt.Println(err)
		return
	}
	taken := map[netip.Addr]bool{netip.MustParseAddr("127.77.0.2"): true}
	fmt.Println(pool.Free(func(a netip.Addr) bool { return taken[a] }))
	// Output: 127.77.0.3 true
}
