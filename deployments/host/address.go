package host

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/cofferdb/coffer/datastores/service"
)

// addAddress puts an instance's address on the host's interface, unless the machine has it. All of 127/8 it has.
func (h *Host) addAddress(ctx context.Context, address netip.Addr) error {
	if address.IsLoopback() {
		return nil
	}
	has, err := hasAddress(address)
	if err != nil || has {
		return err
	}
	_, err = service.Run(ctx, []string{"ip", "address", "add", address.String() + "/32", "dev", h.cfg.Interface}, service.RunOptions{})
	if err != nil {
		return fmt.Errorf("cannot add the address %s to interface %s (it needs root and iproute2): %w", address, h.cfg.Interface, err)
	}
	return nil
}

// removeAddress undoes addAddress. An address of the machine's own, with another prefix length, stays.
func (h *Host) removeAddress(ctx context.Context, address netip.Addr) error {
	if address.IsLoopback() {
		return nil
	}
	has, err := hasAddress(address)
	if err != nil || !has {
		return err
	}
	_, err = service.Run(ctx, []string{"ip", "address", "del", address.String() + "/32", "dev", h.cfg.Interface}, service.RunOptions{})
	return err
}

func hasAddress(address netip.Addr) (bool, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == address {
			return true, nil
		}
	}
	return false, nil
}
