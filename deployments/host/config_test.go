package host

import (
	"errors"
	"flag"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

func TestParseFlags(t *testing.T) {
	tokenFile := filepath.Join(t.TempDir(), "token")
	write(t, tokenFile, "from-file\n")
	env := map[string]string{
		"COFFER_HOST_GATEWAYS": "https://a, https://b", "COFFER_HOST_ADDRESS_POOL": "10.9.0.0/24",
		"COFFER_HOST_MEMORY": "1", "COFFER_HOST_LABEL": "rack=7,disk=nvme", "COFFER_HOST_AVAILABILITY_ZONE": "b", "COFFER_HOST_TOKEN_FILE": tokenFile,
	}
	got, err := ParseFlags([]string{"-memory", "2048", "-uids", "30000-30009", "-dir", "/d"}, func(k string) string { return env[k] }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Gateways: []string{"https://a", "https://b"}, Token: "from-file", Dir: "/d", Guests: "/usr/lib/coffer/guests",
		Place: deployments.Place{Zone: "b", Labels: datastores.Labels{"rack": "7", "disk": "nvme"}}, Capacity: deployments.Capacity{MemoryMB: 2048},
		Pool: "10.9.0.0/24", Interface: "lo", UIDs: Range{30000, 30009}, FirewallTable: "coffer", ImageDir: "/var/lib/coffer/images",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseFlagsRefuses(t *testing.T) {
	for _, args := range []string{
		"-dir x", "-guests .", "-address-pool ::1/64", "-uids 0-10", "-uids 5", "-memory -1", "-label x", "-label a=b=c", "-availability-zone a,b", "extra", "-nonsense",
		"-token-file /nonexistent",
	} {
		if _, err := ParseFlags(strings.Fields(args), func(string) string { return "" }, io.Discard); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
	if _, err := ParseFlags([]string{"-h"}, func(string) string { return "" }, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	_, err := ParseFlags(nil, func(k string) string { return strings.Repeat("x", len(k)/len("COFFER_HOST_VCPUS")) }, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "COFFER_HOST_VCPUS") {
		t.Errorf("%v does not name the environment variable", err)
	}
}

// TestHelpOfTwoHosts: what two hosts on one machine must not share says so.
func TestHelpOfTwoHosts(t *testing.T) {
	var help strings.Builder
	if _, err := ParseFlags([]string{"-help"}, func(string) string { return "" }, &help); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, text := range strings.Split(help.String(), "\n  -")[1:] {
		name, _, _ := strings.Cut(text, " ")
		said[name] = strings.Contains(text, "two hosts on one machine need two")
	}
	for _, name := range []string{"uids", "ids", "address-pool", "firewall-table"} {
		if !said[name] {
			t.Errorf("the help of -%s does not say that two hosts on one machine need two", name)
		}
	}
}
