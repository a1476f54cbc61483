package host

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

// protocol is an IP protocol number; 0 is any.
type protocol byte

const (
	icmp protocol = 1
	tcp  protocol = 6
	udp  protocol = 17
)

// rule lets packets to an instance in. Whatever no rule lets in is dropped.
type rule struct {
	established bool                 // packets of known connections
	from        netip.Prefix         // the zero Prefix: anybody
	protocol    protocol             //
	ports       datastores.PortRange // the zero PortRange: all
}

// rulesOf are the rules for an instance's address. A server may always reach itself, and peers its ports. CIDRs of IPv6 are
// left out, since addresses are IPv4 and the gateway takes no others; if only such are given nobody but the peers is let in.
func rulesOf(address netip.Addr, fw deployments.Firewall) ([]rule, error) {
	from, err := sources(fw)
	if err != nil {
		return nil, err
	}
	rules := []rule{
		{established: true},
		{from: netip.PrefixFrom(address, address.BitLen())},
	}
	for _, source := range from {
		for _, group := range []struct {
			protocol protocol
			ports    []string
		}{{tcp, fw.TCPPorts}, {udp, fw.UDPPorts}} {
			for _, text := range group.ports {
				ports, err := datastores.ParsePortRange(text)
				if err != nil {
					return nil, err
				}
				rules = append(rules, rule{from: source, protocol: group.protocol, ports: ports})
			}
		}
		if fw.ICMP {
			rules = append(rules, rule{from: source, protocol: icmp})
		}
	}
	return rules, nil
}

func sources(fw deployments.Firewall) ([]netip.Prefix, error) {
	from, err := peers(fw.Peers)
	if err != nil {
		return nil, err
	}
	if fw.Open() {
		return []netip.Prefix{{}}, nil // everybody, peers too
	}
	for _, p := range fw.CIDRs {
		if p.Addr().Is4() {
			from = append(from, p.Masked())
		}
	}
	return from, nil
}

// peers are the addresses of other instances, in order, each once: the rules are then the same however they are told.
func peers(addresses []string) ([]netip.Prefix, error) {
	var from []netip.Prefix
	for _, text := range addresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("peer %q: want the address of an instance", text)
		}
		if a = a.Unmap(); a.Is4() {
			from = append(from, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	slices.SortFunc(from, netip.Prefix.Compare)
	return slices.Compact(from), nil
}
