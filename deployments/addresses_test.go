package deployments_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/deployments"
)

func TestParsePool(t *testing.T) {
	for cidr, want := range map[string]string{
		"127.77.0.0/16": "127.77.0.0/16",
		"10.1.2.3/24":   "10.1.2.0/24",
		"10.1.2.3/31":   "",
		"10.1.2.3":      "",
		"fd00::/64":     "",
		"":              "",
	} {
		p, err := deployments.ParsePool(cidr)
		if want == "" {
			if err == nil {
				t.Errorf("ParsePool(%q) = %v, want an error", cidr, p)
			}
		} else if err != nil || p.String() != want {
			t.Errorf("ParsePool(%q) = %v, %v, want %s", cidr, p, err, want)
		}
	}
}

func TestPoolUsable(t *testing.T) {
	p, err := deployments.ParsePool("10.0.0.0/29")
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"10.0.0.0": false, "10.0.0.1": false, "10.0.0.2": true, "10.0.0.6": true, "10.0.0.7": false,
		"10.0.0.8": false, "9.255.255.255": false, "::1": false,
	} {
		if got := p.Usable(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Usable(%s) = %v", addr, got)
		}
	}
}

func TestPoolFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(24, 30).Draw(t, "bits")
		p, err := deployments.ParsePool(netip.PrefixFrom(netip.MustParseAddr("10.9.8.0"), bits).String())
		if err != nil {
			t.Fatal(err)
		}
		taken := map[netip.Addr]bool{}
		for {
			a, ok := p.Free(func(a netip.Addr) bool { return taken[a] })
			if !ok {
				break
			}
			if taken[a] || !p.Usable(a) {
				t.Fatalf("Free gave %s, taken %v, usable %v", a, taken[a], p.Usable(a))
			}
			taken[a] = true
		}
		if want := 1<<(32-bits) - 3; len(taken) != want {
			t.Fatalf("/%d gave %d addresses, want %d", bits, len(taken), want)
		}
	})
}
