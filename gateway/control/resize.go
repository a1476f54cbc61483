package control

import (
	"cmp"
	"context"
	"errors"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// resizable reads an instance that can have another size.
func (cp *Plane) resizable(ctx context.Context, c Caller, id string) (lifecycle.Member, error) {
	in, err := cp.Instance(ctx, c, id)
	if err == nil {
		err = cmp.Or(lifecycle.Hosted(in.Instance), lifecycle.Free(in))
	}
	return in, err
}

// ResizeVolume gives an instance a larger volume, of size GB, and its replicas with it.
func (cp *Plane) ResizeVolume(ctx context.Context, c Caller, id string, size int) error {
	in, err := cp.resizable(ctx, c, id)
	if err != nil {
		return err
	}
	switch {
	case in.VolumeGB == 0:
		return fault.Errorf(fault.NotImplemented, "The datastore version has no volume.")
	case size <= in.VolumeGB:
		return fault.Errorf(fault.BadRequest, "The volume of instance %s has %d GB; a new size must be more.", in.ID, in.VolumeGB)
	}
	most, err := cp.maxVolume(ctx, in.Instance)
	if err != nil {
		return err
	}
	if size > most {
		return fault.Errorf(fault.OverLimit, "A volume of %d GB is larger than the %d GB that this datastore version allows.", size, most)
	}
	if err := cp.resize(ctx, c, in.ID, etcdschema.Target{VolumeGB: size}); err != nil {
		return err
	}
	for _, id := range in.Replicas() { // each by itself: one that is busy now is not worth refusing the source
		if err := cp.resize(ctx, c, id, etcdschema.Target{VolumeGB: size}); err != nil {
			cp.Log.Warn("a replica keeps its volume while its source's grows", "instance_id", id, "err", err)
		}
	}
	return nil
}

func (cp *Plane) maxVolume(ctx context.Context, in etcdschema.Instance) (int, error) {
	catalogue, err := cp.Catalogue(ctx)
	if err != nil {
		return 0, err
	}
	if v, ok := catalogue.FindVersion(in.Datastore, in.Version); ok && v.Server.MaxVolumeSize > 0 {
		return v.Server.MaxVolumeSize, nil
	}
	return datastores.DefaultMaxVolumeSize, nil
}

// ResizeFlavor gives an instance another flavor.
func (cp *Plane) ResizeFlavor(ctx context.Context, c Caller, id, flavorID string) error {
	in, err := cp.resizable(ctx, c, id)
	if err != nil {
		return err
	}
	if flavorID == in.FlavorID {
		return fault.Errorf(fault.BadRequest, "Instance %s has the flavor %s already.", in.ID, flavorID)
	}
	flavor, err := cp.flavor(ctx, flavorID)
	if err != nil {
		return err
	}
	return cp.resize(ctx, c, in.ID, etcdschema.Target{FlavorID: flavorID, Flavor: &flavor})
}

// flavor reads a flavor that a request names.
func (cp *Plane) flavor(ctx context.Context, id string) (etcdschema.Flavor, error) {
	rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.FlavorKey(id))
	if fault.IsNotFound(err) {
		err = fault.Errorf(fault.BadRequest, "Flavor %s cannot be found; GET flavors lists what there is.", id)
	}
	return rec.Value, err
}

// resize charges for the new size and begins the operation, in one transaction. An instance whose host has no room moves to one that has.
func (cp *Plane) resize(ctx context.Context, c Caller, id string, target etcdschema.Target) error {
	event := lifecycle.Event{Type: lifecycle.AskResize, Target: &target, Request: c.Request, By: c.Who.UserName}
	_, err := cp.transition(ctx, c.Project, id, event, func(p *plan.Plan) error {
		ops, err := cp.exchange(p.Snap, p.Before.Instance, lifecycle.Become(p.Before.Instance, target))
		p.Put(ops...)
		return err
	})
	full := new(noRoom)
	if !errors.As(err, &full) {
		return instanceError(err, id)
	}
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	err = cp.move(ctx, c, in, "", target)
	if f := new(fault.Error); errors.As(err, &f) {
		return fault.Errorf(f.Kind, "%v It cannot move to another host either: %s", full.error, f.Message)
	}
	return err
}
