package gatewaytest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// plane is a control plane in processes: gateways and their etcd.
type plane struct {
	urls     []string // of the gateways
	etcd     string   // endpoints, for etcdctl
	gateways []*unit
	members  []*unit             // of etcd, none when it runs inside the gateway
	links    [][]*etcdtest.Proxy // by gateway, to each member of etcd
}

// gatewayArgs are those that every gateway of a plane has.
func gatewayArgs(t *testing.T, m *machine) []string {
	return []string{
		"-insecure-http", "-key-file", gatewaytest.KeysFile(t), "-identity", "none", "-tokens-file", gatewaytest.TokensFile(t), "-hold", "3s",
		"-backup-dir", m.path("backups"), "-limit", "get=-1,post=-1,put=-1,delete=-1,mgmt_post=-1,write_bytes=-1",
	}
}

// oneGateway starts a gateway with etcd inside.
func oneGateway(t *testing.T, p gatewaytest.Programs) *plane {
	t.Helper()
	m := newMachine(t)
	gateway, url := p.Run(t, "serving", "coffer-gateway", append(gatewayArgs(t, m), "-listen", m.address(1, 8779), "-data-dir", m.path("gateway"))...)
	return &plane{urls: []string{url}, etcd: gateway.Printed("etcd")}
}

// threeGateways starts three gateways over an etcd of three. What is between a gateway and a member of etcd can be cut.
func threeGateways(t *testing.T, p gatewaytest.Programs) *plane {
	t.Helper()
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server")
	m, logs, n := newMachine(t), gatewaytest.LogDir(t), &plane{}
	var all, clients []string
	for i := range 3 {
		all = append(all, fmt.Sprintf("e%d=http://%s", i, m.address(11+i, 2380)))
		clients = append(clients, m.address(11+i, 2379))
	}
	for i, client := range clients {
		_, peer, _ := strings.Cut(all[i], "=")
		n.members = append(n.members, startUnit(t, p, logs, "", "/usr/bin/etcd", "--name", fmt.Sprintf("e%d", i), "--data-dir", m.path(fmt.Sprintf("etcd-%d", i)),
			"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client, "--listen-peer-urls", peer,
			"--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(all, ",")))
	}
	n.etcd = strings.Join(clients, ",")
	args := gatewayArgs(t, m)
	for i := range 3 {
		var links []*etcdtest.Proxy
		var endpoints []string
		for _, client := range clients {
			link := etcdtest.NewProxy(t, "tcp", client)
			links, endpoints = append(links, link), append(endpoints, link.Endpoint())
		}
		listen := m.address(1+i, 8779+i)
		n.links, n.urls = append(n.links, links), append(n.urls, "http://"+listen)
		n.gateways = append(n.gateways, startUnit(t, p, logs, "serving", "coffer-gateway",
			append(slices.Clone(args), "-listen", listen, "-data-dir", m.path(fmt.Sprintf("gateway-%d", i)), "-etcd-endpoints", strings.Join(endpoints, ","))...))
	}
	return n
}

// leader is the number of the member of etcd that leads.
func (n *plane) leader(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("etcdctl", "--endpoints", n.etcd, "endpoint", "status", "-w", "json")
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.Output()
	var all []struct {
		Status struct {
			Header struct {
				Member uint64 `json:"member_id"`
			}
			Leader uint64
		}
	}
	if err == nil {
		err = json.Unmarshal(out, &all)
	}
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	for i, one := range all {
		if one.Status.Header.Member == one.Status.Leader {
			return i
		}
	}
	return 0
}
