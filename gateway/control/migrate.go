package control

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Migrate brings an instance to another host: to that one, or with "" to the best that there is. It keeps its id, users, data and part in its
// set; its address is one of the new host's.
func (cp *Plane) Migrate(ctx context.Context, c Caller, id, to string) error {
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	return cp.move(ctx, c, in, to, etcdschema.Target{})
}

// move is Migrate, to a place where the instance has the target's size.
func (cp *Plane) move(ctx context.Context, c Caller, in lifecycle.Member, to string, target etcdschema.Target) error {
	if err := lifecycle.Hosted(in.Instance); err != nil {
		return err
	}
	if in.Host == to {
		return fault.Errorf(fault.BadRequest, "Instance %s is on host %s already.", in.ID, to)
	}
	o, err := cp.orderAgain(ctx, in, target)
	if err != nil {
		return err
	}
	var backup etcdschema.Backup // a member of a set is made anew from its source, which is another by then if it is this one
	if o.source == "" {
		if backup, err = cp.orderCopy(ctx, c, in); err != nil {
			return err
		}
	}
	hosts, err := cp.hostsBut(ctx, in.Host, to)
	if err != nil {
		return err
	}
	if o.beside, err = cp.hostsBeside(ctx, o); err != nil {
		return err
	}
	for _, host := range o.candidates(hosts) {
		if err := cp.moveTo(ctx, c, o, backup, host, target); !errors.Is(err, errHostFull) {
			return instanceError(err, in.ID)
		}
	}
	return fault.Errorf(fault.Unprocessable, "%s", o.noHost(hosts))
}

// orderCopy is the backup by which an instance moves.
func (cp *Plane) orderCopy(ctx context.Context, c Caller, in lifecycle.Member) (etcdschema.Backup, error) {
	if cp.Blobs == nil {
		return etcdschema.Backup{}, ErrNoStore
	}
	for _, needs := range []string{datastores.MethodCreateBackup, datastores.MethodMakeReadOnly} {
		if err := supports(in.Instance, method(needs)); err != nil {
			return etcdschema.Backup{}, err
		}
	}
	backup, err := cp.orderBackup(ctx, c, BackupRequest{Name: "Migration of " + in.ID, Instance: in.ID})
	backup.Snapshot = true // nobody asked for it, and it goes when the instance has come
	return backup, err
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

// orderAgain is what another place for an instance has to be, where it has the target's size.
func (cp *Plane) orderAgain(ctx context.Context, m lifecycle.Member, target etcdschema.Target) (o order, err error) {
	catalogue, err := cp.Settled(ctx)
	if err != nil {
		return o, err
	}
	guest, err := etcdschema.Get(ctx, cp.Store, etcdschema.InstanceGuestKey(m.ID))
	if err != nil {
		return o, err
	}
	version, _ := catalogue.FindVersion(m.Datastore, m.Version)
	o = order{guest: guest.Value, walled: true, version: version, hosts: catalogue.Hosts, source: m.Set.Source()}
	o.become(m, target)
	return o, nil
}

// become orders an instance as it is with the target's size.
func (o *order) become(m lifecycle.Member, target etcdschema.Target) {
	o.instance = lifecycle.Become(m.Instance, target)
	o.need = plan.NeedOf(o.instance)
	o.instance.Locality = cmp.Or(m.Set.Locality, m.Locality)
}

// moveTo keeps a place on a host, charges for the size that the instance has there, and begins.
func (cp *Plane) moveTo(ctx context.Context, c Caller, o order, backup etcdschema.Backup, host string, target etcdschema.Target) error {
	event := lifecycle.Event{Type: lifecycle.AskMigrate, Backup: backup.BackupID, Request: c.Request, By: c.Who.UserName}
	_, err := cp.transition(ctx, c.Project, o.instance.ID, event, func(p *plan.Plan) error {
		if o.source != p.Before.Set.Source() {
			return fault.Errorf(fault.Conflict, "Instance %s has just got another part in its set; ask again.", p.Before.ID)
		}
		if err := cp.othersOf(p.Snap, p.Before, &o); err != nil {
			return err
		}
		charged, err := cp.recharge(p.Snap, p.Before.Instance, lifecycle.Become(p.Before.Instance, target))
		if err != nil {
			return err
		}
		o.become(p.Before, target)
		place := o.instance
		kept, err := cp.allocate(p.Snap, &place, host, o)
		if err != nil {
			return err
		}
		there := target
		there.Host, there.Address = place.Host, place.Address
		p.Event.Target = &there
		ops := append(charged, etcdschema.Put(etcdschema.HostKey(host), kept))
		p.Snap = p.Snap.After(ops...)
		if backup.BackupID != "" {
			key := etcdschema.BackupKey(c.Project, backup.BackupID)
			p.Snap = etcdschema.With(p.Snap, key, backup)
			ops = append(ops, etcdschema.Put(key, backup))
		}
		p.Put(ops...)
		return nil
	})
	return err
}

// othersOf refuses a move of which a guest that it needs is away, and tells an order on which hosts the others of the set are.
func (cp *Plane) othersOf(s etcdschema.Snapshot, m lifecycle.Member, o *order) error {
	if err := cp.reachable(s, m.ID); err != nil || o.source == "" {
		return err
	}
	source, err := sourceOf(s, m.Project, o.source)
	if err == nil {
		err = cp.reachable(s, source.ID)
	}
	if err == nil {
		o.beside, err = hostsBeside(s, source, m.ID, o.instance.Locality)
	}
	return err
}
