package host

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/deployments"
)

func TestRuleText(t *testing.T) {
	rules, err := rulesOf(netip.MustParseAddr("10.1.0.2"), deployments.Firewall{
		TCPPorts: []string{"3306", "4000-4010"}, UDPPorts: []string{"53"}, ICMP: true, CIDRs: prefixes("10.9.0.7/16"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rules {
		got = append(got, r.String())
	}
	if diff := cmp.Diff([]string{
		"ct state established,related", "ip saddr 10.1.0.2/32", "ip saddr 10.9.0.0/16 tcp dport 3306-3306", "ip saddr 10.9.0.0/16 tcp dport 4000-4010",
		"ip saddr 10.9.0.0/16 udp dport 53-53", "ip saddr 10.9.0.0/16 ip protocol icmp",
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseEgress(t *testing.T) {
	for text, want := range map[string]*egress{
		"10.1.2.3/8":     {netip.MustParsePrefix("10.0.0.0/8"), 0},
		"10.0.0.5:9000":  {netip.MustParsePrefix("10.0.0.5/32"), 9000},
		"10.0.0.5":       nil,
		"store:9000":     nil,
		"fd00::/8":       nil,
		"[fd00::1]:9000": nil,
		"0.0.0.0/0":      {netip.MustParsePrefix("0.0.0.0/0"), 0},
	} {
		got, err := parseEgress(text)
		if (err == nil) != (want != nil) || want != nil && got != *want {
			t.Errorf("%s: %v %v, want %v", text, got, err, want)
		}
	}
}
