package host

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
)

// wall is the nftables rules around sandboxes, in a table of their own. For each instance there is a chain that says who may
// reach it, and one that says whom it may reach; what a sandbox sends as somebody else is dropped before either. Each change
// is one transaction of the kernel: there is no moment without rules. A drop is final, whatever other tables say.
type wall struct {
	table   string
	pool    netip.Prefix
	gateway netip.Addr // the machine's address towards sandboxes
}

// ways are where every sandbox may connect to.
type ways struct {
	local    []local                 // gateways on the machine's loopback, which sandboxes reach at the wall's gateway
	gateways []egress                // elsewhere, or at an address of the machine
	out      []egress                // of -egress
	hosts    map[string][]netip.Addr // the names of gateways, which no sandbox can ask anybody for
}

// local is a gateway on the machine's loopback.
type local struct {
	port uint16 // where sandboxes reach it
	to   netip.AddrPort
}

// know adds an address of a name.
func (w *ways) know(name string, a netip.Addr) {
	if _, err := netip.ParseAddr(name); err == nil {
		return
	}
	if w.hosts == nil {
		w.hosts = map[string][]netip.Addr{}
	}
	w.hosts[name] = append(w.hosts[name], a)
}

// egress is where sandboxes may connect to.
type egress struct {
	to   netip.Prefix
	port uint16 // of TCP; 0: everything
}

// String is the match in nft(8)'s language.
func (e egress) String() string {
	if e.port == 0 {
		return "ip daddr " + e.to.String()
	}
	return fmt.Sprintf("ip daddr %s tcp dport %d", e.to, e.port)
}

// parseEgress reads 10.0.0.0/8 or 10.0.0.5:9000.
func parseEgress(text string) (egress, error) {
	if p, err := netip.ParsePrefix(text); err == nil && p.Addr().Is4() {
		return egress{to: p.Masked()}, nil
	}
	if a, err := netip.ParseAddrPort(text); err == nil && a.Addr().Is4() {
		return egress{netip.PrefixFrom(a.Addr(), 32), a.Port()}, nil
	}
	return egress{}, fmt.Errorf("%q is neither a network of IPv4, such as 10.0.0.0/8, nor an address with a port, such as 10.0.0.5:9000", text)
}

// boxed is an instance as the wall knows it.
type boxed struct {
	id      string
	device  string // the machine's end of its wire
	address netip.Addr
	in      []rule
	peers   []netip.Prefix // it may reach these, at any port
}

func (w wall) set(ctx context.Context, to ways, b boxed) error {
	in, out := b.chains()
	var s strings.Builder
	s.WriteString(w.frame() + w.shared(to) + w.empty(in) + w.empty(out))
	for _, r := range b.in {
		_, _ = fmt.Fprintf(&s, "add rule inet %s %s %s accept\n", w.table, in, r)
	}
	_, _ = fmt.Fprintf(&s, "add rule inet %s %s ct state established,related accept\n", w.table, out)
	for _, p := range b.peers {
		_, _ = fmt.Fprintf(&s, "add rule inet %s %s ip daddr %s accept\n", w.table, out, p)
	}
	for _, chain := range []string{in, out} {
		_, _ = fmt.Fprintf(&s, "add rule inet %s %s drop\n", w.table, chain)
	}
	s.WriteString(w.elements("add", b))
	if err := nft(ctx, s.String()); err != nil {
		return fmt.Errorf("cannot set the rules of %s: %w", b.address, err)
	}
	return nil
}

// remove takes an instance's rules away. They are made first, in the same transaction, because nftables refuses to delete
// what is not there.
func (w wall) remove(ctx context.Context, b boxed) error {
	in, out := b.chains()
	script := w.frame() + w.empty(in) + w.empty(out) + w.elements("add", b) + w.elements("delete", b) +
		fmt.Sprintf("delete chain inet %[1]s %[2]s\ndelete chain inet %[1]s %[3]s\n", w.table, in, out)
	if err := nft(ctx, script); err != nil {
		return fmt.Errorf("cannot remove the rules of %s: %w", b.address, err)
	}
	return nil
}

// clear takes the table away, if it is there.
func (w wall) clear(ctx context.Context) error {
	return nft(ctx, fmt.Sprintf("add table inet %s\ndelete table inet %s\n", w.table, w.table))
}

// frame declares what instances share; what is there stays as it is. Chains of the same hook are passed one after the other, so
// a packet between two sandboxes must be let out by one and let in by the other.
func (w wall) frame() string {
	return fmt.Sprintf(`table inet %s {
	set boxes { type ifname; }
	set senders { type ifname . ipv4_addr; }
	map into { type ipv4_addr : verdict; }
	map out_of { type ifname : verdict; }
	chain sent { type filter hook prerouting priority raw; }
	chain leaving { type filter hook forward priority filter - 1; }
	chain entering { type filter hook forward priority filter; }
	chain to_machine { type filter hook input priority filter; }
	chain from_machine { type filter hook output priority filter; }
	chain to_loopback { type nat hook prerouting priority dstnat; }
	chain translated { type nat hook postrouting priority srcnat; }
}
`, w.table)
}

// shared are the rules in the chains of the frame, in place of those before.
func (w wall) shared(to ways) string {
	var inside, gateways, outside, translated, s strings.Builder
	for _, l := range to.local {
		_, _ = fmt.Fprintf(&inside, "\t\tiifname @boxes ip daddr %s tcp dport %d dnat ip to %s\n", w.gateway, l.port, l.to)
	}
	for _, e := range to.gateways {
		_, _ = fmt.Fprintf(&gateways, "\t\t%s accept\n", e)
	}
	for _, e := range to.out {
		_, _ = fmt.Fprintf(&outside, "\t\t%s accept\n", e)
	}
	// Peers see who it is that comes, wherever they are: their rules are for its address.
	for _, e := range slices.Concat(to.gateways, to.out) {
		_, _ = fmt.Fprintf(&translated, "\t\tip saddr %[1]s ip daddr != %[1]s %[2]s ct state new oifname != @boxes masquerade\n", w.pool, e)
	}
	for _, chain := range []string{"sent", "leaving", "entering", "to_machine", "from_machine", "to_loopback", "translated"} {
		s.WriteString(w.empty(chain))
	}
	_, _ = fmt.Fprintf(&s, `table inet %[1]s {
	chain sent {
		iifname . ip saddr @senders accept
		iifname @boxes drop
	}
	chain leaving {
		iifname != @boxes accept
%[4]s%[5]s		iifname vmap @out_of
	}
	chain entering {
		ip daddr vmap @into
	}
	chain from_machine {
		ip daddr vmap @into
	}
	chain to_machine {
		iifname != @boxes accept
		ct state established,related accept
		ct status dnat accept
%[4]s		drop
	}
	chain to_loopback {
%[2]s	}
	chain translated {
%[3]s	}
}
`, w.table, inside.String(), translated.String(), gateways.String(), outside.String())
	return s.String()
}

// empty makes a chain that has no rules.
func (w wall) empty(chain string) string {
	return fmt.Sprintf("add chain inet %[1]s %[2]s\nflush chain inet %[1]s %[2]s\n", w.table, chain)
}

func (w wall) elements(do string, b boxed) string {
	in, out := b.chains()
	var s strings.Builder
	for _, e := range [][2]string{
		{"boxes", strconv.Quote(b.device)}, {"senders", fmt.Sprintf("%q . %s", b.device, b.address)},
		{"into", fmt.Sprintf("%s : jump %s", b.address, in)}, {"out_of", fmt.Sprintf("%q : jump %s", b.device, out)},
	} {
		_, _ = fmt.Fprintf(&s, "%s element inet %s %s { %s }\n", do, w.table, e[0], e[1])
	}
	return s.String()
}

// chains are the names of an instance's. A name must begin with a letter and has no hyphen.
func (b boxed) chains() (in, out string) {
	id := strings.ReplaceAll(b.id, "-", "")
	return "in_" + id, "out_" + id
}

// String is the rule's match in nft(8)'s language.
func (r rule) String() string {
	var words []string
	if r.established {
		words = append(words, "ct state established,related")
	}
	if r.from.IsValid() && r.from.Bits() > 0 {
		words = append(words, "ip saddr "+r.from.String())
	}
	names := map[protocol]string{icmp: "icmp", tcp: "tcp", udp: "udp"}
	switch {
	case r.ports.Last != 0:
		words = append(words, fmt.Sprintf("%s dport %d-%d", names[r.protocol], r.ports.First, r.ports.Last))
	case r.protocol != 0:
		words = append(words, "ip protocol "+names[r.protocol])
	}
	return strings.Join(words, " ")
}

func nft(ctx context.Context, script string) error {
	_, err := service.Run(ctx, []string{"nft", "-f", "-"}, service.RunOptions{Stdin: strings.NewReader(script)})
	return err
}
