package host

import (
	"cmp"
	"context"
	"errors"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

// Drivers, as the flag -driver and an announcement name them.
const (
	driverSandbox = deployments.DriverSandbox
	driverProcess = deployments.DriverProcess
)

// driver is the way in which instances run on this machine. Its methods, but for the first three, are called with the
// instance's lock held; each may be repeated.
type driver interface {
	// check returns why this machine cannot run instances so.
	check() error
	// notes say what it cannot do for them.
	notes() []string
	// images are those that instances can run in, and why others are not among them.
	images() (names, notes []string)
	// filters reports whether it can keep others from an instance.
	filters() bool
	// claim gives a new instance its user ids. h.mu is held.
	claim(inst *instance) error

	// connect gives an instance its address, and the sandbox its rules. It runs while the volume is made, and touches nothing that is written down.
	connect(ctx context.Context, inst *instance) error
	// ensure makes everything else of an instance, but its volume, that is not there, and starts the guest if it does not run. An empty
	// token leaves the one that the guest has.
	ensure(ctx context.Context, inst *instance, token string) (notes []string, err error)
	// protect lets in, and out, what the instance's rules say.
	protect(ctx context.Context, inst *instance) (notes []string, err error)
	// running reports whether the guest runs, or is about to be started by what runs it.
	running(inst *instance) bool
	// replace ends the guest so that it is started from another binary. The database server is not touched.
	replace(ctx context.Context, inst *instance) error
	// release lets go of the volume, so that it can be unmounted. The database server has ended before.
	release(ctx context.Context, inst *instance) error
	// remove ends every process of the instance, and takes away what ensure made.
	remove(ctx context.Context, inst *instance) error
	// last is called when the last instance of this host has gone.
	last() error
}

// newcomers is the driver of instances that are made from now on.
func (h *Host) newcomers() driver {
	if h.cfg.Driver == driverSandbox {
		return &h.sandboxes
	}
	return &h.processes
}

// driver is the one that the instance was made by.
func (h *Host) driver(inst *instance) driver {
	if inst.rec.Driver == driverSandbox {
		return &h.sandboxes
	}
	return &h.processes
}

// of counts the instances that were made by a driver.
func (h *Host) of(driver string) (n int) {
	for _, inst := range h.list() {
		if cmp.Or(inst.rec.Driver, driverProcess) == driver {
			n++
		}
	}
	return n
}

// ensure makes of an instance whatever is not there, and starts its guest if it does not run. An empty token leaves the
// one that the guest has. inst.mu is held.
func (h *Host) ensure(ctx context.Context, inst *instance, token string) (notes []string, err error) {
	if err := h.binaries.check(inst.rec.Launch.Manager); err != nil {
		return nil, err
	}
	d := h.driver(inst)
	if inst.adrift() {
		if err := d.release(ctx, inst); err != nil {
			return nil, err
		}
	}
	connected := make(chan error, 1)
	go func() { connected <- d.connect(ctx, inst) }()
	if err := errors.Join(inst.ensureVolume(ctx), <-connected); err != nil {
		return nil, err
	}
	if inst.rec.VolumeNote != "" {
		notes = append(notes, inst.rec.VolumeNote)
	}
	more, err := d.ensure(ctx, inst, token)
	return append(notes, more...), err
}

// guestConfig is what both drivers tell a guest.
func (h *Host) guestConfig(inst *instance) datastores.GuestConfig {
	return datastores.GuestConfig{
		InstanceID: inst.id, Gateways: h.cfg.Gateways, CA: h.cfg.CA, AllowHTTP: h.cfg.AllowHTTP,
		Address: inst.rec.Launch.Address, MemoryMB: inst.rec.Launch.MemoryMB,
	}
}
