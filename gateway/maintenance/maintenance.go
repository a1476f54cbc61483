// Package maintenance lets what an operator has asked for begin in a window in which its tenant takes an interruption. When that is stands in
// the due index, so that any gateway begins it, once; a window that was missed is followed by the next one.
package maintenance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Maintenance is that of all projects.
type Maintenance struct{ Control *control.Plane }

// Known is what is known of the maintenance of an instance.
type Known struct {
	etcdschema.Maintenance
	Window  *etcdschema.MaintenanceWindow // its own or the project's; nil: there is none
	Default bool                          // it is the project's
	From    time.Time                     // when it is open next, or since when it is; zero: never
	To      time.Time

	def *etcdschema.MaintenanceWindow // of the project
}

// Subject is whose maintenance that of an instance is: its cluster's, its source's or its own.
func Subject(m lifecycle.Member) string {
	if m.Clustered() {
		return m.SetID
	}
	return cmp.Or(m.ReplicaOf(), m.ID)
}

// Refs name the records of an instance's maintenance, so that they can be read together with it.
func Refs(project, subject string) []etcdschema.Ref {
	return []etcdschema.Ref{etcdschema.MaintenanceKey(project, subject), etcdschema.MaintenanceKey(project, "")}
}

// Read reads the records that [Refs] name.
func (m *Maintenance) Read(s etcdschema.Snapshot, project, subject string) (k Known, err error) {
	own, err := etcdschema.Read(s, etcdschema.MaintenanceKey(project, subject))
	if err != nil {
		return k, err
	}
	def, err := etcdschema.Read(s, etcdschema.MaintenanceKey(project, ""))
	k.Maintenance, k.Window = own.Value, own.Value.Window
	k.Project, k.Subject, k.def = project, subject, def.Value.Window
	if k.Window == nil {
		k.Window, k.Default = k.def, k.def != nil
	}
	if k.Window != nil {
		k.From, k.To = open(*k.Window, m.Control.Now())
	}
	return k, err
}

// Of reads what is known of the maintenance of an instance.
func (m *Maintenance) Of(ctx context.Context, in lifecycle.Member) (k Known, err error) {
	_, err = m.Control.Store.Look(ctx, 0, Refs(in.Project, Subject(in)), func(s etcdschema.Snapshot) error {
		k, err = m.Read(s, in.Project, Subject(in))
		return err
	})
	return k, err
}

// Default is a project's window; nil: it has none.
func (m *Maintenance) Default(ctx context.Context, project string) (*etcdschema.MaintenanceWindow, error) {
	rec, err := etcdschema.Get(ctx, m.Control.Store, etcdschema.MaintenanceKey(project, ""))
	if fault.IsNotFound(err) {
		err = nil
	}
	return rec.Value.Window, err
}

// SetDefault gives a project another window, or with nil none. What waits for the one that it had waits for this one.
func (m *Maintenance) SetDefault(ctx context.Context, project string, w *etcdschema.MaintenanceWindow) error {
	if w != nil {
		if err := check(*w); err != nil {
			return err
		}
	}
	key := etcdschema.MaintenanceKey(project, "")
	_, err := m.Control.Store.Update(ctx, []etcdschema.Ref{key}, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		if w == nil {
			return []etcdschema.Op{etcdschema.Delete(key)}, nil
		}
		return []etcdschema.Op{etcdschema.Put(key, etcdschema.Maintenance{Project: project, Window: w})}, nil
	})
	if err != nil {
		return err
	}
	list, err := etcdschema.List(ctx, m.Control.Store, etcdschema.MaintenanceOf(project), etcdschema.Page{})
	for _, rec := range list.Records {
		if k := rec.Value; err == nil && k.Pending != nil && k.Window == nil {
			err = m.change(ctx, project, k.Subject, func(*Known) (string, error) { return "", nil })
		}
	}
	return err
}

// change decides over what is known of a subject, has it be due as that says, and tells the instance of it a message, unless that is "".
func (m *Maintenance) change(ctx context.Context, project, subject string, decide func(*Known) (string, error)) error {
	_, err := m.Control.Store.Update(ctx, Refs(project, subject), func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		k, err := m.Read(s, project, subject)
		if err != nil {
			return nil, err
		}
		told := subject
		if k.Pending != nil {
			told = k.Pending.Instance
		}
		message, err := decide(&k)
		if err != nil {
			return nil, err
		}
		if k.Pending != nil {
			told = k.Pending.Instance
		}
		ops := m.put(k)
		if message == "" {
			return ops, nil
		}
		more, err := m.tell(s, project, told, message)
		return append(ops, more...), err
	})
	return err
}

// put writes what is known of a subject, which is due when its window opens next.
func (m *Maintenance) put(k Known) []etcdschema.Op {
	now, at := m.Control.Now(), time.Time{}
	if k.Pending != nil && k.Window != nil {
		if at, _ = open(*k.Window, now); at.Before(now) {
			at = now
		}
	}
	return plan.PutMaintenance(k.Maintenance, at, now)
}

func (m *Maintenance) tell(s etcdschema.Snapshot, project, instance, message string) ([]etcdschema.Op, error) {
	key := etcdschema.InstanceKey(project, instance)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return nil, err
	}
	ops := plan.Tell(&rec.Value, etcdschema.Event{At: m.Control.Now().UTC(), Kind: "note", Message: message})
	return append(ops, etcdschema.Put(key, rec.Value)), nil
}

// SetWindow gives an instance, and with it its set or cluster, another window; with nil it has the project's.
func (m *Maintenance) SetWindow(ctx context.Context, c control.Caller, id string, w *etcdschema.MaintenanceWindow) error {
	if w != nil {
		if err := check(*w); err != nil {
			return err
		}
	}
	in, err := m.Control.Instance(ctx, c, id)
	if err == nil {
		err = plan.NoDrill(in.Instance)
	}
	if err != nil {
		return err
	}
	return m.change(ctx, c.Project, Subject(in), func(k *Known) (string, error) {
		k.Maintenance.Window, k.Window = w, cmp.Or(w, k.def)
		return "", nil
	})
}

// Ask has something done in the next window, in place of what waits by now. It is checked as if it began at once: what would be refused then is
// refused now.
func (m *Maintenance) Ask(ctx context.Context, c control.Caller, id, kind, version string) error {
	in, err := m.Control.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	want := etcdschema.Maintain{
		ID: plan.NewID(), Kind: kind, Instance: id, Version: version, By: c.Who.UserName, Request: c.Request, Asked: m.Control.Now().UTC(),
	}
	if kind == etcdschema.MaintainUpgrade && !in.Clustered() {
		want.Instance = Subject(in)
	}
	dry, _ := control.DryRun(ctx)
	if err := m.do(dry, c, in, want); err != nil && !errors.Is(err, etcdschema.ErrDryRun) {
		return err
	}
	return m.change(ctx, c.Project, Subject(in), func(k *Known) (string, error) {
		if k.Window == nil {
			return "", fault.Errorf(fault.Unprocessable, "Instance %s has no maintenance window, and its project has no default one: ask for it without \"when\", or agree on a window first.", id)
		}
		asked := want
		k.Pending = &asked
		return fmt.Sprintf("an operator wants %s: it begins in the maintenance window from %s UTC, at once with begin_maintenance, and not with cancel_maintenance", wish(want), control.Stamp(k.From)), nil
	})
}

func wish(p etcdschema.Maintain) string {
	if p.Kind == etcdschema.MaintainUpgrade {
		return "an upgrade to version " + p.Version
	}
	return "a restart"
}

// do asks the control plane for what an operator has asked for.
func (m *Maintenance) do(ctx context.Context, c control.Caller, in lifecycle.Member, p etcdschema.Maintain, also ...func(*plan.Plan) error) error {
	cp := m.Control
	switch {
	case p.Kind == etcdschema.MaintainUpgrade && in.Clustered():
		return cp.UpgradeCluster(ctx, c, in.SetID, p.Version, also...)
	case p.Kind == etcdschema.MaintainUpgrade:
		return cp.Upgrade(ctx, c, Subject(in), p.Version, also...)
	case in.Clustered():
		return cp.Roll(ctx, c, in.SetID, lifecycle.Restart, nil, also...)
	}
	return cp.Ask(ctx, c, p.Instance, lifecycle.AskRestart, also...)
}

// Cancel has what waits not happen.
func (m *Maintenance) Cancel(ctx context.Context, c control.Caller, id string) error {
	in, err := m.Control.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	return m.change(ctx, c.Project, Subject(in), func(k *Known) (string, error) {
		if k.Pending == nil {
			return "", none(id)
		}
		was := wish(*k.Pending)
		k.Pending = nil
		return was + " in the maintenance window was cancelled by " + cmp.Or(c.Who.UserName, "somebody"), nil
	})
}

func none(id string) error {
	return fault.Errorf(fault.Unprocessable, "Nothing waits for the maintenance window of instance %s.", id)
}

// Begin has what waits begin at once.
func (m *Maintenance) Begin(ctx context.Context, c control.Caller, id string) error {
	in, err := m.Control.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	k, err := m.Of(ctx, in)
	if err == nil && k.Pending == nil {
		err = none(id)
	}
	if err != nil {
		return err
	}
	return m.begin(ctx, c, k)
}

// about is the instance that something waits for; of an upgrade another one of its set or cluster, when that has left.
func (m *Maintenance) about(ctx context.Context, c control.Caller, k Known) (lifecycle.Member, error) {
	in, err := m.Control.Instance(ctx, c, k.Pending.Instance)
	if fault.IsNotFound(err) && k.Pending.Kind == etcdschema.MaintainUpgrade {
		if cluster, none := m.Control.FindCluster(ctx, c.Project, k.Subject); none == nil && len(cluster.Instances) > 0 {
			return cluster.Instances[0], nil
		}
		in, err = m.Control.Instance(ctx, c, k.Subject)
	}
	return in, err
}

// errBefore: somebody else was first.
var errBefore = errors.New("what was asked for has begun, or was cancelled")

// begin has what waits begin, and not wait any more: both in one transaction.
func (m *Maintenance) begin(ctx context.Context, c control.Caller, k Known) error {
	in, err := m.about(ctx, c, k)
	if err != nil {
		return err
	}
	begun, now := false, m.Control.Now().UTC()
	still := func(s etcdschema.Snapshot) (Known, error) {
		is, err := m.Read(s, k.Project, k.Subject)
		if err == nil && (is.Pending == nil || is.Pending.ID != k.Pending.ID) {
			err = errBefore
		}
		is.Pending, is.Last = nil, &etcdschema.Maintained{Kind: k.Pending.Kind, Version: k.Pending.Version, Began: now}
		return is, err
	}
	err = m.do(ctx, c, in, *k.Pending, func(p *plan.Plan) error {
		is, err := still(p.Snap)
		if err != nil {
			return err
		}
		p.Put(m.put(is)...)
		begun = true
		return nil
	})
	if err != nil || begun {
		return err
	}
	_, err = m.Control.Store.Update(ctx, Refs(k.Project, k.Subject), func(s etcdschema.Snapshot) ([]etcdschema.Op, error) { // it has that version
		is, err := still(s)
		if err != nil {
			return nil, err
		}
		return m.put(is), nil
	})
	return err
}
