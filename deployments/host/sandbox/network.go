package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
)

// Network is an instance's network namespace and the wire to it: a veth whose end in the machine is Interface. Nothing of a
// sandbox can change either, since both belong to the machine's user namespace.
//
// Packets are routed, not bridged: so every one of them, between two instances of one machine too, passes the machine's
// firewall.
type Network struct {
	Name      string // of the namespace, as ip-netns(8) knows it
	Interface string // at most 15 bytes
	Address   netip.Addr
	Gateway   netip.Addr // the machine's own address towards all instances
	Uplink    string     // where the machine answers for Address; "": nowhere
}

// netnsDir is where ip-netns(8) keeps namespaces.
const netnsDir = "/run/netns"

// Path is the namespace, for a [Sandbox].
func (n Network) Path() string { return filepath.Join(netnsDir, n.Name) }

// Ensure makes what is not there. A wire that was half made is made anew, namespace and all. It reports whether it was.
func (n Network) Ensure(ctx context.Context) (made bool, err error) {
	if made, err = n.ensureWire(ctx); err != nil {
		return made, fmt.Errorf("cannot make the network: %w", err)
	}
	if n.Uplink == "" {
		return made, nil
	}
	if err := ip(ctx, "", fmt.Sprintf("neigh replace proxy %s dev %s", n.Address, n.Uplink)); err != nil {
		return made, fmt.Errorf("cannot answer for %s on %s: %w", n.Address, n.Uplink, err)
	}
	return made, nil
}

func (n Network) ensureWire(ctx context.Context) (made bool, err error) {
	if _, err := os.Stat(n.Path()); err == nil && n.routed() {
		return false, nil
	}
	if err := n.Remove(ctx); err != nil {
		return false, err
	}
	err = ip(ctx, "",
		"address replace "+n.Gateway.String()+"/32 dev lo",
		"netns add "+n.Name,
		fmt.Sprintf("link add %s type veth peer name eth0 netns %s", n.Interface, n.Name),
		fmt.Sprintf("link set %s up", n.Interface))
	if err != nil {
		return true, err
	}
	for name, value := range map[string]string{
		"ipv6/conf/" + n.Interface + "/disable_ipv6":   "1",
		"ipv4/conf/" + n.Interface + "/route_localnet": "1", // gateways on the machine's loopback
		"ipv4/conf/" + n.Interface + "/rp_filter":      "1",
	} {
		if err := sysctl(name, value); err != nil {
			return true, err
		}
	}
	err = ip(ctx, n.Name,
		"link set lo up", "link set eth0 up",
		fmt.Sprintf("address add %s/32 dev eth0", n.Address),
		fmt.Sprintf("route add %s dev eth0 scope link", n.Gateway),
		fmt.Sprintf("route add default via %s dev eth0", n.Gateway))
	if err != nil {
		return true, err
	}
	// The route is last: by it a wire is known to be whole.
	return true, ip(ctx, "", fmt.Sprintf("route replace %s/32 dev %s src %s", n.Address, n.Interface, n.Gateway))
}

// routed reports whether the machine sends packets for Address into Interface.
func (n Network) routed() bool {
	if _, err := net.InterfaceByName(n.Interface); err != nil {
		return false
	}
	b, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return false
	}
	a := n.Address.As4()
	want := fmt.Sprintf("%s\t%02X%02X%02X%02X\t", n.Interface, a[3], a[2], a[1], a[0])
	return strings.Contains(string(b), "\n"+want)
}

// Remove takes the network away. It is no error when that is not there.
func (n Network) Remove(ctx context.Context) error {
	var problems []error
	if n.Uplink != "" {
		_ = ip(ctx, "", fmt.Sprintf("neigh del proxy %s dev %s", n.Address, n.Uplink)) // it tells as an error that there is none
	}
	if _, err := net.InterfaceByName(n.Interface); err == nil {
		problems = append(problems, ip(ctx, "", "link del "+n.Interface))
	}
	if _, err := os.Stat(n.Path()); err == nil {
		problems = append(problems, ip(ctx, "", "netns del "+n.Name))
	}
	return errors.Join(problems...)
}

// Forward lets the machine pass packets on, which instances need.
func Forward() error { return sysctl("ipv4/ip_forward", "1") }

func sysctl(name, value string) error {
	path := filepath.Join("/proc/sys/net", name)
	if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == value {
		return nil
	}
	return os.WriteFile(path, []byte(value), 0)
}

// ip runs commands of ip(8), in a network namespace or, "", the machine's. The first that fails ends it.
func ip(ctx context.Context, netns string, commands ...string) error {
	argv := []string{"ip"}
	if netns != "" {
		argv = append(argv, "-netns", netns)
	}
	_, err := service.Run(ctx, append(argv, "-batch", "-"), service.RunOptions{Stdin: strings.NewReader(strings.Join(commands, "\n") + "\n")})
	return err
}
