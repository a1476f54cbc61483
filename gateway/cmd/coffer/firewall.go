package main

import (
	"fmt"
	"os"

	"github.com/google/nftables"
)

// dropTable removes a host's nftables table, which stays, empty, when its last instance goes. One that is not there is
// no error.
func dropTable(name string) error {
	if os.Geteuid() != 0 {
		return nil // nor could the host make it
	}
	conn, err := nftables.New()
	if err == nil {
		conn.DelTable(conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: name}))
		err = conn.Flush()
	}
	if err != nil {
		return fmt.Errorf("the nftables table %s may be left behind: %w", name, err)
	}
	return nil
}
