package datastoretest

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// checkSockets: the server listens at its address alone, at the ports that its versions open to tenants or peers and at the harness's
// PrivatePorts, which keep strangers out. Its local sockets are in its directories.
func (s *server) checkSockets(t *testing.T, all []process) {
	private := map[int]bool{}
	listens := false
	for _, p := range all {
		for _, at := range p.listening() {
			listens = true
			if at.Addr().String() != s.env.Address {
				t.Errorf("%s listens at %s; want %s alone", p, at, s.env.Address)
			}
			if port := int(at.Port()); !s.public(port) {
				private[port] = true
			}
		}
		for _, path := range p.localSockets() {
			if strings.HasPrefix(path, "@") || filepath.IsAbs(path) && !strings.HasPrefix(path, s.env.Dir) && !strings.HasPrefix(path, s.env.DataDir) {
				t.Errorf("%s has a local socket %q, which is in no directory of the server's", p, path)
			}
		}
	}
	if !listens {
		t.Errorf("no process listens at %s", s.env.Address)
	}
	for port := range private {
		stranger := s.PrivatePorts[port]
		if stranger == nil {
			t.Errorf("the server listens at port %d, which no version opens to tenants and the harness does not name in PrivatePorts", port)
		} else if err := stranger(s.within(t), s.env); err == nil {
			t.Errorf("port %d lets in whoever comes", port)
		}
	}
	for port := range s.PrivatePorts {
		if !private[port] {
			t.Errorf("the harness names private port %d, at which nobody listens", port)
		}
	}
}

// public reports whether a version opens a port to tenants or peers.
func (s *server) public(port int) bool {
	for _, offer := range s.Plugin.Manifest().Offers {
		for _, r := range slices.Concat(offer.Server.TCPPorts, offer.Server.UDPPorts, offer.Server.PeerTCPPorts) {
			if r.First <= port && port <= r.Last {
				return true
			}
		}
	}
	return false
}

// listening are the addresses at which the process takes connections of TCP, or packets of UDP from anywhere.
func (p process) listening() (all []netip.AddrPort) {
	const listen, unconnected = "0A", "07"
	for name, state := range map[string]string{"tcp": listen, "tcp6": listen, "udp": unconnected, "udp6": unconnected} {
		for _, fields := range p.table(name) { // number, local, remote, state, …, inode
			const local, is, inode = 1, 3, 9
			if len(fields) > inode && fields[is] == state && slices.Contains(p.inodes, fields[inode]) {
				if at, err := parseAddress(fields[local]); err == nil {
					all = append(all, at)
				}
			}
		}
	}
	return all
}

// localSockets are the names of local sockets at which the process takes connections.
func (p process) localSockets() (names []string) {
	for _, fields := range p.table("unix") { // number, references, protocol, flags, type, state, inode, name
		const flags, inode, name = 3, 6, 7
		const accepts = 1 << 16
		if bits, err := strconv.ParseUint(fields[flags], 16, 32); err == nil && bits&accepts != 0 && slices.Contains(p.inodes, fields[inode]) && len(fields) > name {
			names = append(names, fields[name])
		}
	}
	return names
}

// table reads one of /proc/PID/net without its heading.
func (p process) table(name string) (rows [][]string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", p.pid, name))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 6 && strings.HasSuffix(fields[0], ":") {
			rows = append(rows, fields)
		}
	}
	return rows
}

// parseAddress reads an address of /proc/net: in words of four bytes, each with the last byte first, then the port.
func parseAddress(text string) (netip.AddrPort, error) {
	address, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	ip, ok := netip.AddrFromSlice(b)
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", text)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), nil
}
