package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// ways lead to the gateways, at the addresses that their names have now, and to what -egress lists.
func (h *sandboxes) ways(ctx context.Context) (to ways, err error) {
	to.local = h.locals()
	for _, text := range h.cfg.Gateways {
		name, port, err := endpoint(text)
		if err != nil {
			return to, err
		}
		if isLoopback(name) {
			continue
		}
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
		if err != nil {
			return to, fmt.Errorf("cannot find the gateway %s: %w", name, err)
		}
		slices.SortFunc(addresses, netip.Addr.Compare)
		for _, a := range addresses {
			to.gateways = append(to.gateways, egress{netip.PrefixFrom(a.Unmap(), 32), port})
			to.know(name, a.Unmap())
		}
	}
	for _, text := range h.cfg.Egress {
		e, err := parseEgress(text)
		if err != nil {
			return to, err
		}
		to.out = append(to.out, e)
	}
	return to, nil
}

// leadEvery is how often the names of gateways are asked for.
const leadEvery = 30 * time.Second

// lead leads sandboxes to the gateways when their names have other addresses than before.
func (h *sandboxes) lead(ctx context.Context) error {
	h.led.Lock()
	defer h.led.Unlock()
	if h.cfg.Driver != driverSandbox || time.Since(h.led.at) < leadEvery {
		return nil
	}
	h.led.at = time.Now()
	to, err := h.ways(ctx)
	if err != nil || reflect.DeepEqual(to, h.led.to) {
		return err
	}
	for _, inst := range h.list() {
		if inst.rec.Driver != driverSandbox {
			continue
		}
		if !inst.mu.TryLock() {
			return nil // the next time
		}
		if !inst.rec.Removing {
			err = errors.Join(err, h.sandbox(inst).Prepare(to.hosts), h.enclose(ctx, inst, to))
		}
		inst.mu.Unlock()
	}
	if err == nil {
		h.led.to = to
	}
	return err
}

// gatewaysInside are the gateways' URLs for a guest. Those on the machine's loopback are had at its address towards sandboxes.
func (h *sandboxes) gatewaysInside() (urls []string) {
	locals := h.locals()
	for _, text := range h.cfg.Gateways {
		u, err := url.Parse(text)
		if err != nil || !isLoopback(u.Hostname()) {
			urls = append(urls, text)
			continue
		}
		u.Host = netip.AddrPortFrom(h.pool.Gateway(), locals[0].port).String()
		locals = locals[1:]
		urls = append(urls, u.String())
	}
	return urls
}

// locals are the gateways on the machine's loopback, in their order. Two that listen at the same port of different addresses
// are told apart by the port at which sandboxes reach them.
func (h *sandboxes) locals() (all []local) {
	taken := map[uint16]bool{}
	for _, text := range h.cfg.Gateways {
		name, port, err := endpoint(text)
		if err != nil || !isLoopback(name) {
			continue
		}
		address, err := netip.ParseAddr(name)
		if err != nil || !address.Is4() {
			address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		l := local{port, netip.AddrPortFrom(address, port)}
		for taken[l.port] {
			l.port++
		}
		taken[l.port] = true
		all = append(all, l)
	}
	return all
}

func endpoint(gateway string) (host string, port uint16, err error) {
	u, err := url.Parse(gateway)
	if err != nil {
		return "", 0, err
	}
	text := u.Port()
	if text == "" {
		text = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("gateway %q: want a URL with a port", gateway)
	}
	return u.Hostname(), uint16(n), nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
