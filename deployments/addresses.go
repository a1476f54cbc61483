package deployments

import (
	"fmt"
	"net/netip"
)

// Pool is the IPv4 network from which the instances of a host get their addresses; the zero Pool has none. See [Machine] for the
// addresses of it that are not used. In JSON it is a CIDR.
type Pool struct{ prefix netip.Prefix }

// ParsePool reads a CIDR such as 10.20.0.0/24. The network must be IPv4 and hold one usable address at least (/30).
func ParsePool(cidr string) (Pool, error) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || !p.Addr().Is4() || p.Bits() > 30 {
		return Pool{}, fmt.Errorf("address pool %q: want an IPv4 network of /30 or larger, such as 127.77.0.0/16", cidr)
	}
	return Pool{p.Masked()}, nil
}

// IsZero reports whether the pool has no addresses, since nobody has said which.
func (p Pool) IsZero() bool { return !p.prefix.IsValid() }

// String is the pool's CIDR; "" of the zero Pool.
func (p Pool) String() string {
	if p.IsZero() {
		return ""
	}
	return p.prefix.String()
}

// MarshalText implements encoding.TextMarshaler.
func (p Pool) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Pool) UnmarshalText(cidr []byte) (err error) {
	if *p = (Pool{}); len(cidr) > 0 {
		*p, err = ParsePool(string(cidr))
	}
	return err
}

// Within reports whether all of the pool lies in another one.
func (p Pool) Within(other Pool) bool {
	return p.prefix.Bits() >= other.prefix.Bits() && other.prefix.Contains(p.prefix.Addr())
}

// Prefix is the network.
func (p Pool) Prefix() netip.Prefix { return p.prefix }

// Gateway is the first host address, which no instance has: the host's own towards its instances, where it has one.
func (p Pool) Gateway() netip.Addr { return p.prefix.Addr().Next() }

// Usable reports whether an instance may have the address.
func (p Pool) Usable(a netip.Addr) bool {
	if !p.prefix.Contains(a) {
		return false
	}
	first := p.prefix.Addr()
	return a != first && a != first.Next() && p.prefix.Contains(a.Next())
}

// Free returns the lowest usable address that is not taken, or false when there is none.
func (p Pool) Free(taken func(netip.Addr) bool) (netip.Addr, bool) {
	for a := p.prefix.Addr().Next().Next(); p.Usable(a); a = a.Next() {
		if !taken(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}
