package control

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Instance reads an instance with its set.
func (cp *Plane) Instance(ctx context.Context, c Caller, id string) (lifecycle.Member, error) {
	m, err := cp.member(ctx, c.Project, id)
	return m, instanceError(err, id)
}

// member reads an instance and its set, both of one moment.
func (cp *Plane) member(ctx context.Context, project, id string) (m lifecycle.Member, err error) {
	key := etcdschema.InstanceKey(project, id)
	_, err = cp.Store.Look(ctx, 0, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (err error) {
		m, err = memberAt(s, key, id)
		return err
	})
	return m, err
}

func memberAt(s etcdschema.Snapshot, key etcdschema.Key[etcdschema.Instance], id string) (lifecycle.Member, error) {
	rec, err := etcdschema.Read(s, key)
	in, err := fault.Found(rec, err, "Instance", id)
	if err != nil {
		return lifecycle.Member{}, err
	}
	return plan.MemberOf(s, in)
}

// Moment is when in the past something is looked at: at a revision of etcd, or, when that is 0, at a time.
type Moment struct {
	Revision int64
	Time     time.Time
}

// Past is an instance as it was.
type Past struct {
	lifecycle.Member
	Revision int64 // that it is seen at
	Changed  int64 // revision that had changed it, or its set, last
	Earlier  int64 // a revision at which it was as before that; 0: it was made then
}

// pastReads is how many changes of an instance a look at a time goes back.
const pastReads = 200

// AsOf reads an instance and its set as they were, as far back as etcd remembers. Whether its guest was connected then is not known. A time is
// looked for from now on backwards, change by change.
func (cp *Plane) AsOf(ctx context.Context, c Caller, id string, when Moment) (Past, error) {
	key, at := etcdschema.InstanceKey(c.Project, id), when.Revision
	for range pastReads {
		var p Past
		var later int64 // the first change of what is seen here that was after the time
		seen, err := cp.Store.Look(ctx, at, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) error {
			rec, err := etcdschema.Read(s, key)
			in, err := fault.Found(rec, err, "Instance", id)
			if err != nil {
				return err
			}
			p = Past{Member: lifecycle.Alone(in), Changed: rec.Changed}
			var set etcdschema.Record[etcdschema.Set]
			if in.SetID != "" {
				if set, err = etcdschema.Read(s, etcdschema.SetKey(in.Project, in.SetID)); err != nil {
					return err
				}
				p.Set, p.Changed = set.Value, max(rec.Changed, set.Changed)
			}
			if p.Changed > rec.Created {
				p.Earlier = p.Changed - 1
			}
			if later = 0; when.Revision == 0 && (in.Updated.After(when.Time) || in.ServiceReported.After(when.Time)) {
				later = rec.Changed
			}
			if when.Revision == 0 && set.Value.Updated.After(when.Time) && (later == 0 || set.Changed < later) {
				later = set.Changed
			}
			return nil
		})
		switch {
		case errors.Is(err, etcdschema.ErrForgotten):
			return Past{}, fault.Errorf(fault.Gone, "Nothing is known any more of instance %s as it was then: etcd has compacted that part of its history away. Ask for something later; the timeline (events) goes back 30 days.", id)
		case errors.Is(err, etcdschema.ErrNotYet):
			return Past{}, fault.Errorf(fault.BadRequest, "There has been no revision %d yet.", at)
		case fault.IsNotFound(err):
			return Past{}, fault.Errorf(fault.ItemNotFound, "Instance %s cannot be found as of revision %d.", id, seen)
		case err != nil:
			return Past{}, err
		case later == 0:
			p.Revision = seen
			return p, nil
		}
		at = later - 1
	}
	return Past{}, fault.Errorf(fault.Unprocessable, "Instance %s has changed more than %d times since then. Ask as of a revision: each answer names an earlier one.", id, pastReads)
}

// Members are instances with their sets. A set that is not there any more is not worth a list.
func (cp *Plane) Members(ctx context.Context, sets etcdschema.Prefix[etcdschema.Set], list []etcdschema.Instance) ([]lifecycle.Member, error) {
	by := map[string]etcdschema.Set{}
	if slices.ContainsFunc(list, func(in etcdschema.Instance) bool { return in.SetID != "" }) {
		all, err := etcdschema.List(ctx, cp.Store, sets, etcdschema.Page{})
		if err != nil {
			return nil, err
		}
		for _, rec := range all.Records {
			by[rec.Value.ID] = rec.Value
		}
	}
	members := make([]lifecycle.Member, len(list))
	for i, in := range list {
		members[i] = lifecycle.Member{Instance: in, Set: by[in.SetID]}
	}
	return members, nil
}

// Ask lets an instance begin what needs no more than its wish: a restart, another try, its end.
func (cp *Plane) Ask(ctx context.Context, c Caller, id string, what lifecycle.EventType, also ...func(*plan.Plan) error) error {
	_, err := cp.transition(ctx, c.Project, id, lifecycle.Event{Type: what, Request: c.Request, By: c.Who.UserName}, also...)
	return instanceError(err, id)
}

// Operate begins an operation that takes no arguments, if the instance's manager can do it.
func (cp *Plane) Operate(ctx context.Context, c Caller, id string, op lifecycle.Operation) error {
	event := lifecycle.Event{Type: op.Ask(), Request: c.Request, By: c.Who.UserName}
	_, err := cp.transition(ctx, c.Project, id, event, func(p *plan.Plan) error { return supports(p.Before.Instance, method(op.Method)) })
	return instanceError(err, id)
}

// change writes an instance with something about it changed that is no operation.
func (cp *Plane) change(ctx context.Context, c Caller, id string, f func(etcdschema.Snapshot, *etcdschema.Instance) ([]etcdschema.Op, error)) error {
	key, bill := etcdschema.InstanceKey(c.Project, id), cp.Limits.Bill(c.Project)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		in, err := fault.Found(rec, err, "Instance", id)
		if err == nil {
			err = cmp.Or(plan.NoDrill(in), bill.Writes(in, 1))
		}
		if err != nil {
			return nil, err
		}
		ops, err := f(s, &in)
		in.Updated = cp.Now().UTC()
		return append(ops, etcdschema.Put(key, in)), err
	})
	return instanceError(err, id)
}

// Rename gives an instance another name.
func (cp *Plane) Rename(ctx context.Context, c Caller, id, name string) error {
	return cp.change(ctx, c, id, func(_ etcdschema.Snapshot, in *etcdschema.Instance) ([]etcdschema.Op, error) {
		in.Name = name
		return nil, nil
	})
}

// Protect says anew whether an instance is protected from deletion.
func (cp *Plane) Protect(ctx context.Context, c Caller, id string, protected bool) error {
	return cp.change(ctx, c, id, func(_ etcdschema.Snapshot, in *etcdschema.Instance) ([]etcdschema.Op, error) {
		message := "the instance can be deleted"
		if protected {
			message = "the instance is protected from deletion"
		}
		in.Protected = protected
		return plan.Tell(in, etcdschema.Event{At: cp.Now().UTC(), Kind: "note", Message: message, Request: c.Request}), nil
	})
}

// SetAccess says anew who may reach an instance; its host is told.
func (cp *Plane) SetAccess(ctx context.Context, c Caller, id string, access Access) error {
	if _, err := networks(access.AllowedCIDRs); err != nil { // whatever the instance is doing
		return err
	}
	return cp.change(ctx, c, id, func(s etcdschema.Snapshot, in *etcdschema.Instance) ([]etcdschema.Op, error) {
		if in.Operation != nil && !in.Prepared {
			return nil, &lifecycle.NotAllowed{Message: "Instance " + in.ID + " is still being made."}
		}
		m, err := plan.MemberOf(s, *in)
		if err != nil {
			return nil, err
		}
		if err := restrict(in, access, true); err != nil {
			return nil, err
		}
		in.Firewall.Peers = plan.OthersIn(m.Set, *in)
		event := etcdschema.Event{At: cp.Now().UTC(), Kind: "note", Message: whoMayReach(*in), Request: c.Request}
		ops := plan.Tell(in, event)
		if in.Host == "" {
			return ops, nil
		}
		op, err := cp.Signer.Protect(*in, cp.Now().UTC())
		return append(ops, op), err
	})
}

// instanceError names the instance where a key or a record did not exist.
func instanceError(err error, id string) error {
	if err == nil {
		return nil
	}
	if fault.IsNotFound(err) {
		return fault.NotFound("Instance", id)
	}
	return err
}

// ValidName reports whether a name is Trove's non_empty_string: 1 to 255 characters, at least one ASCII letter or digit. Control characters are refused:
// names are read at terminals.
func ValidName(s string) bool {
	return utf8.RuneCountInString(s) <= limits.MaxName && !strings.ContainsFunc(s, unicode.IsControl) && strings.ContainsFunc(s, func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	})
}

// EnableRoot lets root in, with a password of the caller's or with a new one. The password goes to the guest sealed, is returned, and is
// stored nowhere. failed are the replicas that could not be told.
func (cp *Plane) EnableRoot(ctx context.Context, c Caller, id string, wanted *string) (name, password string, failed []string, err error) {
	password = plan.NewPassword()
	if wanted != nil {
		password = *wanted
		if err := CheckPassword("root", password, NameRules{}); err != nil {
			return "", "", nil, err
		}
	}
	var root datastores.RootReply
	args := datastores.RootArgs{Password: datastores.NewSecret(password).ForSealing()}
	failed, err = cp.CallSet(ctx, c, id, datastores.MethodEnableRoot, args, &root)
	return root.Name, password, failed, err
}

// DisableRoot shuts root out. failed are the replicas that could not be told.
func (cp *Plane) DisableRoot(ctx context.Context, c Caller, id string) (failed []string, err error) {
	in, err := cp.Instance(ctx, c, id)
	if err == nil && in.RootEnabledAt.IsZero() {
		err = fault.Errorf(fault.ItemNotFound, "Root was never enabled on instance %s.", in.ID)
	}
	if err != nil {
		return nil, err
	}
	return cp.CallSet(ctx, c, id, datastores.MethodDisableRoot, nil, nil)
}
