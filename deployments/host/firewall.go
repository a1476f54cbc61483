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
	peers, err := peersOf(fw)
	if err != nil {
		return nil, err
	}
	ports, err := portsOf(fw.TCPPorts, fw.UDPPorts)
	if err != nil {
		return nil, err
	}
	own, err := portsOf(fw.PeerTCPPorts, nil)
	if err != nil {
		return nil, err
	}
	if fw.ICMP {
		ports = append(ports, rule{protocol: icmp})
	}
	rules := []rule{
		{established: true},
		{from: netip.PrefixFrom(address, address.BitLen())},
	}
	rules = append(rules, each(sources(fw, peers), ports)...)
	return append(rules, each(peers, own)...), nil
}

// each lets every source in by every rule.
func each(sources []netip.Prefix, ports []rule) (rules []rule) {
	for _, source := range sources {
		for _, r := range ports {
			r.from = source
			rules = append(rules, r)
		}
	}
	return rules
}

// portsOf are rules for ports, from anybody.
func portsOf(ofTCP, ofUDP []string) (rules []rule, err error) {
	for _, group := range []struct {
		protocol protocol
		ports    []string
	}{{tcp, ofTCP}, {udp, ofUDP}} {
		for _, text := range group.ports {
			ports, err := datastores.ParsePortRange(text)
			if err != nil {
				return nil, err
			}
			rules = append(rules, rule{protocol: group.protocol, ports: ports})
		}
	}
	return rules, nil
}

// sources may reach the ports that are not for peers alone.
func sources(fw deployments.Firewall, peers []netip.Prefix) []netip.Prefix {
	if fw.Open() {
		return []netip.Prefix{{}} // everybody, peers too
	}
	from := slices.Clone(peers)
	for _, p := range fw.CIDRs {
		if p.Addr().Is4() {
			from = append(from, p.Masked())
		}
	}
	return from
}

// peersOf are the addresses of other instances, in order, each once: the rules are then the same however they are told.
func peersOf(fw deployments.Firewall) (from []netip.Prefix, err error) {
	for _, text := range fw.Peers {
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
