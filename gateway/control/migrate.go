package control

import (
	"context"
	"errors"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Migrate brings an instance to another host: to that one, or with "" to the best that there is. It keeps its id, users and data; its
// address is one of the new host's.
func (cp *Plane) Migrate(ctx context.Context, c Caller, id, to string) error {
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	return cp.move(ctx, c, in, to, etcdschema.Target{})
}

// move is Migrate, to a place where the instance has the target's size.
func (cp *Plane) move(ctx context.Context, c Caller, in lifecycle.Member, to string, target etcdschema.Target) error {
	switch {
	case in.Host == "":
		return fault.Errorf(fault.NotImplemented, "Instance %s runs on a machine of its own; there is no host to take it from.", in.ID)
	case in.Host == to:
		return fault.Errorf(fault.BadRequest, "Instance %s is on host %s already.", in.ID, to)
	case cp.Blobs == nil:
		return errNoStore // it moves by a backup
	}
	for _, needs := range []string{datastores.MethodCreateBackup, datastores.MethodMakeReadOnly} {
		if err := supports(in.Instance, method(needs)); err != nil {
			return err
		}
	}
	o, err := cp.orderAgain(ctx, lifecycle.Become(in.Instance, target))
	if err != nil {
		return err
	}
	backup, err := cp.orderBackup(ctx, c, BackupRequest{Name: "Migration of " + in.ID, Instance: in.ID})
	if err != nil {
		return err
	}
	backup.Snapshot = true // nobody asked for it, and it goes when the instance has come
	hosts, err := cp.hostsBut(ctx, in.Host, to)
	if err != nil {
		return err
	}
	for _, host := range o.candidates(hosts) {
		if err := cp.moveTo(ctx, c, o, backup, host, target); !errors.Is(err, errHostFull) {
			return instanceError(err, in.ID)
		}
	}
	return fault.Errorf(fault.Unprocessable, "%s", o.noHost(hosts))
}

// hostsBut are the hosts that an instance could move to: that one, or with "" all but its own.
func (cp *Plane) hostsBut(ctx context.Context, own, only string) ([]etcdschema.Record[etcdschema.HostRecord], error) {
	list, err := etcdschema.List(ctx, cp.Store, etcdschema.Hosts(), etcdschema.Page{})
	if err != nil {
		return nil, err
	}
	hosts := slices.DeleteFunc(list.Records, func(h etcdschema.Record[etcdschema.HostRecord]) bool {
		id := etcdschema.Hosts().Name(h.Key)
		return id == own || only != "" && id != only
	})
	if only != "" && len(hosts) == 0 {
		return nil, fault.Errorf(fault.BadRequest, "Host %s cannot be found; GET mgmt/hosts lists what there is.", only)
	}
	return hosts, nil
}

// orderAgain is what another place for an instance has to be.
func (cp *Plane) orderAgain(ctx context.Context, in etcdschema.Instance) (o order, err error) {
	catalogue, err := cp.Settled(ctx)
	if err != nil {
		return o, err
	}
	guest, err := etcdschema.Get(ctx, cp.Store, etcdschema.InstanceGuestKey(in.ID))
	if err != nil {
		return o, err
	}
	version, _ := catalogue.FindVersion(in.Datastore, in.Version)
	return order{instance: in, guest: guest.Value, need: plan.NeedOf(in), moves: true, version: version, hosts: catalogue.Hosts}, nil
}

// moveTo keeps a place on a host, charges for the size that the instance has there, and begins.
func (cp *Plane) moveTo(ctx context.Context, c Caller, o order, backup etcdschema.Backup, host string, target etcdschema.Target) error {
	event := lifecycle.Event{Type: lifecycle.AskMigrate, Backup: backup.BackupID, Request: c.Request}
	_, err := cp.transition(ctx, c.Project, o.instance.ID, event, func(p *plan.Plan) error {
		if err := cp.reachable(p.Snap, p.Before.ID); err != nil {
			return err
		}
		place := lifecycle.Become(p.Before.Instance, target)
		charged, err := cp.recharge(p.Snap, p.Before.Instance, place)
		if err != nil {
			return err
		}
		o.instance, o.need = place, plan.NeedOf(place)
		kept, err := cp.allocate(p.Snap, &place, host, o)
		if err != nil {
			return err
		}
		there := target
		there.Host, there.Address = place.Host, place.Address
		p.Event.Target = &there
		key := etcdschema.BackupKey(c.Project, backup.BackupID)
		ops := append(charged, etcdschema.Put(etcdschema.HostKey(host), kept))
		p.Snap = etcdschema.With(p.Snap, key, backup).After(ops...)
		p.Put(append(ops, etcdschema.Put(key, backup))...)
		return nil
	})
	return err
}
