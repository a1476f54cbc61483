package control

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
)

// firewall is what a datastore version opens, to everybody until [restrict] says otherwise.
func firewall(server datastores.ServerOptions) deployments.Firewall {
	texts := func(ports []datastores.PortRange) (all []string) {
		for _, p := range ports {
			all = append(all, p.String())
		}
		return all
	}
	return deployments.Firewall{TCPPorts: texts(server.TCPPorts), UDPPorts: texts(server.UDPPorts), PeerTCPPorts: texts(server.PeerTCPPorts), ICMP: server.ICMP}
}

// restrict says in the instance who may reach it; the record keeps the words of the request, its firewall has networks.
// Where no network is named Trove differs, and so do we: an instance that is being made is open to everybody, one that is
// there is closed to all but the members of its replication set.
func restrict(in *etcdschema.Instance, a Access, made bool) error {
	cidrs, err := networks(a.AllowedCIDRs)
	if err != nil {
		return err
	}
	in.Public, in.AllowedCIDRs = a.IsPublic, a.AllowedCIDRs
	in.Firewall.CIDRs, in.Firewall.Closed = cidrs, made && len(cidrs) == 0
	return nil
}

// accessOf is who may reach a new instance: as the request says, and where that names no network and does not make it public, the
// networks of its definition.
func accessOf(asked *Access, server datastores.ServerOptions) (a Access) {
	if asked != nil {
		a = *asked
	}
	if !a.IsPublic && len(a.AllowedCIDRs) == 0 {
		a.AllowedCIDRs = server.PrivateCIDRs
	}
	return a
}

// whoMayReach tells it for the timeline.
func whoMayReach(in etcdschema.Instance) string {
	switch {
	case in.Firewall.Open():
		return "everybody may reach the instance"
	case in.Firewall.Closed:
		return "nobody may reach the instance, since allowed_cidrs names no network"
	}
	var who []string
	for _, p := range in.Firewall.CIDRs {
		who = append(who, p.String())
	}
	return strings.Join(who, ", ") + " may reach the instance"
}

// maxNetworks bounds the rules of one instance.
const maxNetworks = 200

// networks reads allowed_cidrs: networks of IPv4, or addresses alone, each once. Instances have addresses of IPv4 only, so
// one of IPv6 could let nobody in; it is refused.
func networks(allowed []string) ([]netip.Prefix, error) {
	if len(allowed) > maxNetworks {
		return nil, fault.Errorf(fault.OverLimit, "access['allowed_cidrs'] holds %d networks; an instance can have %d.", len(allowed), maxNetworks)
	}
	var cidrs []netip.Prefix
	for i, s := range allowed {
		p, err := netip.ParsePrefix(s)
		if a, alone := netip.ParseAddr(s); alone == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || !p.Addr().Is4() {
			return nil, fault.Errorf(fault.BadRequest, "Validation error: access['allowed_cidrs'][%d] %q is not a network of IPv4 such as 10.0.0.0/8, or an address. Instances have addresses of IPv4 only: name those that clients come from.", i, s)
		}
		if slices.Contains(allowed[:i], s) {
			return nil, fault.Errorf(fault.BadRequest, "Validation error: access['allowed_cidrs'] holds %q twice.", s)
		}
		if cidr := p.Masked(); !slices.Contains(cidrs, cidr) {
			cidrs = append(cidrs, cidr)
		}
	}
	return cidrs, nil
}

type Access struct {
	IsPublic     bool     `json:"is_public"`
	AllowedCIDRs []string `json:"allowed_cidrs"`
}
