package host

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/deployments"
)

func prefixes(cidrs ...string) (all []netip.Prefix) {
	for _, cidr := range cidrs {
		all = append(all, netip.MustParsePrefix(cidr))
	}
	return all
}

func TestRulesOf(t *testing.T) {
	address := netip.MustParseAddr("127.99.0.2")
	always := []rule{{established: true}, {from: netip.MustParsePrefix("127.99.0.2/32")}}
	ten := netip.MustParsePrefix("10.0.0.0/8")
	one := netip.MustParsePrefix("192.0.2.1/32")
	port := func(first, last int) datastores.PortRange { return datastores.PortRange{First: first, Last: last} }
	for name, test := range map[string]struct {
		fw   deployments.Firewall
		want []rule
	}{
		"nothing is open":                      {deployments.Firewall{}, nil},
		"no CIDRs is all":                      {deployments.Firewall{TCPPorts: []string{"3306"}}, []rule{{protocol: tcp, ports: port(3306, 3306)}}},
		"ping":                                 {deployments.Firewall{ICMP: true}, []rule{{protocol: icmp}}},
		"bits are masked":                      {deployments.Firewall{ICMP: true, CIDRs: prefixes("10.1.2.3/8")}, []rule{{from: ten, protocol: icmp}}},
		"only IPv6 is none":                    {deployments.Firewall{ICMP: true, CIDRs: prefixes("fd00::/8")}, nil},
		"closed is none":                       {deployments.Firewall{TCPPorts: []string{"3306"}, ICMP: true, Closed: true}, nil},
		"closed, but for peers":                {deployments.Firewall{ICMP: true, Closed: true, Peers: []string{"192.0.2.1"}}, []rule{{from: one, protocol: icmp}}},
		"peers without CIDRs are as everybody": {deployments.Firewall{ICMP: true, Peers: []string{"127.99.0.9"}}, []rule{{protocol: icmp}}},
		"peers beside CIDRs": {
			deployments.Firewall{TCPPorts: []string{"1"}, CIDRs: prefixes("10.0.0.0/8"), Peers: []string{"127.99.0.9", "fd00::1", "127.99.0.4", "127.99.0.9"}},
			[]rule{
				{from: netip.MustParsePrefix("127.99.0.4/32"), protocol: tcp, ports: port(1, 1)},
				{from: netip.MustParsePrefix("127.99.0.9/32"), protocol: tcp, ports: port(1, 1)},
				{from: ten, protocol: tcp, ports: port(1, 1)},
			},
		},
		"some ports are for peers alone": {
			deployments.Firewall{TCPPorts: []string{"1"}, PeerTCPPorts: []string{"7000"}, Peers: []string{"192.0.2.1"}},
			[]rule{{protocol: tcp, ports: port(1, 1)}, {from: one, protocol: tcp, ports: port(7000, 7000)}},
		},
		"and for nobody, when there are no peers": {
			deployments.Firewall{TCPPorts: []string{"1"}, PeerTCPPorts: []string{"7000"}, CIDRs: prefixes("10.0.0.0/8")},
			[]rule{{from: ten, protocol: tcp, ports: port(1, 1)}},
		},
		"each with each": {
			deployments.Firewall{TCPPorts: []string{"1", "5-9"}, UDPPorts: []string{"7"}, CIDRs: prefixes("10.0.0.0/8", "192.0.2.1/32")},
			[]rule{
				{from: ten, protocol: tcp, ports: port(1, 1)}, {from: ten, protocol: tcp, ports: port(5, 9)}, {from: ten, protocol: udp, ports: port(7, 7)},
				{from: one, protocol: tcp, ports: port(1, 1)}, {from: one, protocol: tcp, ports: port(5, 9)}, {from: one, protocol: udp, ports: port(7, 7)},
			},
		},
	} {
		got, err := rulesOf(address, test.fw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		equal := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
		if diff := cmp.Diff(append(always[:2:2], test.want...), got, cmp.AllowUnexported(rule{}), equal); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	for _, fw := range []deployments.Firewall{
		{TCPPorts: []string{"0"}}, {UDPPorts: []string{"9-1"}}, {TCPPorts: []string{"http"}},
		{Peers: []string{"10.0.0.1/32"}}, {PeerTCPPorts: []string{"bus"}},
	} {
		if rules, err := rulesOf(address, fw); err == nil {
			t.Errorf("rulesOf(%v) = %v, want an error", fw, rules)
		}
	}
}

// TestFirewall sets real rules on addresses that nobody else uses, in a table of its own.
func TestFirewall(t *testing.T) {
	needRoot(t)
	fw := testFirewall(t)
	address := netip.MustParseAddr("127.98.0.2")
	server := listen(t, address.String())
	set := func(rules deployments.Firewall) {
		t.Helper()
		all, err := rulesOf(address, rules)
		if err != nil {
			t.Fatal(err)
		}
		if err := fw.set("one", address, all); err != nil {
			t.Fatal(err)
		}
	}
	check := func(from string, want bool) {
		t.Helper()
		if got := reaches(t, from, server); got != want {
			t.Errorf("from %s: reached %v, want %v", from, got, want)
		}
	}

	check("127.98.1.1", true)
	set(deployments.Firewall{})
	check("127.98.1.1", false)
	check(address.String(), true) // itself
	_, port, _ := net.SplitHostPort(server)
	set(deployments.Firewall{TCPPorts: []string{port}, CIDRs: prefixes("127.98.1.0/24")})
	check("127.98.1.1", true)
	check("127.98.2.1", false)
	set(deployments.Firewall{TCPPorts: []string{port}, CIDRs: prefixes("127.98.1.0/24"), Peers: []string{"127.98.2.1"}})
	check("127.98.1.1", true)
	check("127.98.2.1", true)
	check("127.98.2.2", false)
	set(deployments.Firewall{PeerTCPPorts: []string{port}, CIDRs: prefixes("127.98.1.0/24"), Peers: []string{"127.98.2.1"}})
	check("127.98.1.1", false)
	check("127.98.2.1", true)
	set(deployments.Firewall{TCPPorts: []string{port}})
	check("127.98.2.1", true)
	set(deployments.Firewall{UDPPorts: []string{port}})
	check("127.98.2.1", false)

	other := netip.MustParseAddr("127.98.0.3")
	if err := fw.set("two", other, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := fw.remove("one", address); err != nil {
			t.Fatal(err)
		}
		check("127.98.2.1", true)
	}
	if reaches(t, "127.98.2.1", listen(t, other.String())) {
		t.Error("removing one instance's rules removed another's")
	}
}

// TestFirewallText compares with what the administrator's tool shows.
func TestFirewallText(t *testing.T) {
	needRoot(t)
	fw := testFirewall(t)
	address := netip.MustParseAddr("127.98.0.4")
	rules, err := rulesOf(address, deployments.Firewall{
		TCPPorts: []string{"3306", "21100-21199"}, UDPPorts: []string{"53"}, ICMP: true, CIDRs: prefixes("10.0.0.0/8", "0.0.0.0/0"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := fw.set("one", address, rules); err != nil {
		t.Fatal(err)
	}
	datastoretest.Require(t, "/usr/sbin/nft", "nftables")
	out, err := exec.Command("/usr/sbin/nft", "-nn", "list", "table", "inet", fw.table).CombinedOutput()
	want := `table inet ` + fw.table + ` {
	map instances {
		type ipv4_addr : verdict
		elements = { 127.98.0.4 : jump one }
	}

	chain input {
		type filter hook input priority 0; policy accept;
		ip daddr vmap @instances
	}

	chain one {
		ct state 0x2,0x4 accept
		ip saddr 127.98.0.4 accept
		ip saddr 10.0.0.0/8 tcp dport 3306-3306 accept
		ip saddr 10.0.0.0/8 tcp dport 21100-21199 accept
		ip saddr 10.0.0.0/8 udp dport 53-53 accept
		ip saddr 10.0.0.0/8 meta l4proto 1 accept
		tcp dport 3306-3306 accept
		tcp dport 21100-21199 accept
		udp dport 53-53 accept
		meta l4proto 1 accept
		drop
	}
}
`
	if diff := cmp.Diff(want, string(out)); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func testFirewall(t *testing.T) firewall { return firewall{table: testTable(t)} }

// testTable names a table for one test, and removes it at the end.
func testTable(t testing.TB) string {
	table := "coffer_test_" + strings.ToLower(t.Name())
	if os.Geteuid() != 0 {
		return table
	}
	t.Cleanup(func() {
		conn, err := nftables.New()
		if err != nil {
			t.Error(err)
			return
		}
		own := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: table})
		conn.DelTable(own)
		if err := conn.Flush(); err != nil {
			t.Error("the test's table is left behind:", err)
		}
	})
	return table
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// listen answers nobody, but a connection to it can be made.
func listen(t *testing.T, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// reaches reports whether a connection can be made. What is dropped is never answered; a second is long for one that is made on
// loopback.
func reaches(t *testing.T, from, to string) bool {
	t.Helper()
	d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
