package gateway_test

import (
	"fmt"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// stand is a state that an instance can be in, with the other members of its set as they are then.
type stand struct {
	name    string
	set     func(s *set3)
	alone   bool // nobody polls for its guest
	cluster bool // it is a cluster's member
}

// set3 is an instance, a source that it follows, and another replica of that; those without an id are not there.
type set3 struct {
	it, source, other etcdschema.Instance
	set               etcdschema.Set
}

// join puts an instance into the set.
func (s *set3) join(in *etcdschema.Instance, role etcdschema.MemberRole) {
	s.set.ID, s.set.Project, s.set.Kind, s.set.ReplicationStrategy = idOf(s.it, 3), in.Project, etcdschema.SetReplication, "memory"
	s.set.Members = append(s.set.Members, etcdschema.SetMember{ID: in.ID, Role: role, Address: in.Address})
	in.SetID = s.set.ID
}

// state says what keeps a member of the set from taking part.
func (s *set3) state(id string, state etcdschema.MemberState) {
	s.set = s.set.With(id, func(m *etcdschema.SetMember) { m.State = state })
}

// busy puts the set into a step of an operation that a member leads.
func (s *set3) busy(kind string, step lifecycle.Step, lead, agent string) {
	s.set.Operation = &etcdschema.SetOperation{Lead: lead, Former: s.set.Source(), Operation: etcdschema.Operation{
		Kind: kind, Step: string(step), Since: s.it.Created, Started: s.it.Created, Deadline: s.it.Created.Add(24 * time.Hour),
		Agent: agent, Command: idOf(s.it, 9),
	}}
}

// stands are all states: idle ones first, then what failed, then every step of every operation.
func stands() []stand {
	follows := func(s *set3) {
		s.source.ID = idOf(s.it, 1)
		s.join(&s.source, etcdschema.RoleSource)
		s.join(&s.it, etcdschema.RoleReplica)
	}
	withOther := func(s *set3) {
		follows(s)
		s.other.ID = idOf(s.it, 2)
		s.join(&s.other, etcdschema.RoleReplica)
	}
	leads := func(s *set3) {
		s.other.ID = idOf(s.it, 2)
		s.join(&s.it, etcdschema.RoleSource)
		s.join(&s.other, etcdschema.RoleReplica)
	}
	making := func(s *set3) {
		s.it.Prepared = false
		s.state(s.it.ID, etcdschema.MemberMaking)
	}
	service := func(status datastores.ServiceStatus) func(*set3) {
		return func(s *set3) { s.it.Service = datastores.Status{Service: status, Message: "it does not answer"} }
	}
	failed := func(kind string, more ...func(*set3)) func(*set3) {
		return func(s *set3) {
			for _, f := range more {
				f(s)
			}
			s.it.Failed, s.it.Fault = kind, &etcdschema.Fault{Message: "no luck", Created: s.it.Created}
		}
	}
	at := func(kind string, step lifecycle.Step, more ...func(*set3)) stand {
		return stand{name: fmt.Sprintf("%s: %s", kind, step), set: func(s *set3) {
			for _, f := range more {
				f(s)
			}
			s.it.Operation = &etcdschema.Operation{
				Kind: kind, Step: string(step), Since: s.it.Created, Started: s.it.Created, Deadline: s.it.Created.Add(24 * time.Hour),
				Agent: s.it.ID, Command: idOf(s.it, 9),
			}
			if kind == lifecycle.Create {
				s.it.Prepared, s.it.Service.Service = false, datastores.StatusNew
			}
			op, none := s.it.Operation, ""
			switch kind {
			case lifecycle.Configure:
				op.Target = &etcdschema.Target{Configuration: &none}
			case lifecycle.Resize:
				op.Target = &etcdschema.Target{VolumeGB: 2}
			case lifecycle.Upgrade:
				op.Target = &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2"}}
			case lifecycle.Modules:
				op.Target = &etcdschema.Target{Modules: &etcdschema.ModuleChange{}}
			case lifecycle.Backup:
				op.Backup = idOf(s.it, 8)
			case lifecycle.Migrate:
				op.Target = &etcdschema.Target{Host: s.it.Host, Address: "127.99.0.99"}
			}
			switch step {
			case lifecycle.Launching, lifecycle.Resizing, lifecycle.Removing, lifecycle.Equipping, lifecycle.Reverting:
				op.Agent = s.it.Host
			case lifecycle.Enrolling, lifecycle.Yielding:
				op.Command = ""
			case lifecycle.Admitting:
				op.Agent = s.source.ID
			case lifecycle.Snapshotting:
				op.Agent, op.Backup = s.source.ID, idOf(s.it, 8)
				s.state(s.it.ID, etcdschema.MemberCopying)
			}
			if kind == lifecycle.Migrate && step == lifecycle.Snapshotting { // it is at the new place
				op.Former = &etcdschema.Former{Host: s.it.Host, Address: s.it.Address, FlavorID: s.it.FlavorID, Flavor: s.it.Flavor, VolumeGB: s.it.VolumeGB}
				op.Target.Host = idOf(s.it, 7)
			}
		}}
	}
	clustered := func(s *set3) {
		s.other.ID = idOf(s.it, 2)
		s.join(&s.it, etcdschema.RoleNode)
		s.join(&s.other, etcdschema.RoleNode)
		s.set.Kind, s.set.Name = etcdschema.SetCluster, "ring"
	}
	ofCluster := func(kind string, step lifecycle.Step, more ...func(*set3)) stand {
		return stand{name: fmt.Sprintf("its cluster's %s: %s", kind, step), cluster: true, set: func(s *set3) {
			clustered(s)
			s.busy(kind, step, s.it.ID, s.other.ID)
			s.set.Operation.Turn = []string{s.other.ID}
			if step == lifecycle.Keeping {
				s.set.Operation.Backup, s.set.Operation.Parts = idOf(s.it, 8), map[string]string{s.other.ID: idOf(s.it, 8)}
			}
			for _, f := range more {
				f(s)
			}
		}}
	}
	entering := func(kind string, step lifecycle.Step) func(*set3) {
		return func(s *set3) {
			at(kind, step).set(s)
			s.set.Operation.Step, s.set.Operation.Command, s.set.Operation.Turn = string(lifecycle.Joining), "", []string{s.it.ID}
		}
	}
	ofSet := func(kind string, step lifecycle.Step, set func(*set3)) stand {
		return stand{name: fmt.Sprintf("%s: %s", kind, step), set: func(s *set3) {
			set(s)
			s.busy(kind, step, s.it.ID, s.it.ID)
			op := s.set.Operation
			switch step {
			case lifecycle.Fencing, lifecycle.Unfencing:
				op.Agent, op.Reason, op.FailedStep = s.source.ID, "no luck", string(lifecycle.CatchingUp)
			case lifecycle.Electing:
				op.Agent = s.other.ID
			case lifecycle.Rejoining:
				op.Lead, op.Agent, op.Command, op.Waiting = s.source.ID, "", "", []string{s.it.ID}
			case lifecycle.Halting, lifecycle.Standing, lifecycle.Awaiting, lifecycle.Levelling:
				op.Candidates, op.Acks, op.Position = []string{s.other.ID}, 1, &datastores.Position{}
				s.set.Failover = &etcdschema.Failover{Acks: 1, Grace: 30, Waits: true, Candidates: op.Candidates, Check: s.it.Created.Add(24 * time.Hour)}
				if step != lifecycle.Awaiting {
					op.Agent = s.other.ID
				}
			case lifecycle.Inspecting, lifecycle.Renewing, lifecycle.Measuring, lifecycle.Reaching:
				op.Target, op.Waiting = &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2"}}, []string{s.other.ID, s.it.ID}
				if step != lifecycle.Measuring {
					op.Agent = s.other.ID
				}
				if step == lifecycle.Renewing {
					op.Command, s.other.Operation = "", &etcdschema.Operation{
						Kind: lifecycle.Upgrade, Step: string(lifecycle.Upgrading), Since: s.it.Created, Started: s.it.Created,
						Deadline: s.it.Created.Add(24 * time.Hour), Agent: s.other.ID, Command: idOf(s.it, 9), Target: op.Target,
					}
				}
			}
		}}
	}
	held := func(kind string, set func(*set3)) func(*set3) {
		return func(s *set3) {
			set(s)
			switch kind {
			case lifecycle.Promote:
				s.busy(kind, lifecycle.CatchingUp, s.other.ID, s.other.ID)
				return
			case lifecycle.UpgradeSet:
				s.busy(kind, lifecycle.Reaching, s.source.ID, s.other.ID)
				s.set.Operation.Target, s.set.Operation.Waiting = &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2"}}, []string{s.other.ID, s.it.ID}
				return
			}
			s.other.Prepared = false
			s.state(s.other.ID, etcdschema.MemberCopying)
			s.other.Operation = &etcdschema.Operation{
				Kind: lifecycle.Create, Step: string(lifecycle.Snapshotting), Since: s.it.Created, Started: s.it.Created,
				Deadline: s.it.Created.Add(24 * time.Hour), Agent: s.it.ID, Command: idOf(s.it, 9),
			}
		}
	}
	return []stand{
		{name: "well", set: func(*set3) {}},
		{name: "well, restart required", set: func(s *set3) { s.it.RestartRequired = true }},
		{name: "well, a replica", set: withOther},
		{name: "well, a source", set: leads},
		{name: "well, its guest is gone", set: func(*set3) {}, alone: true},
		{name: "server shutdown", set: service(datastores.StatusShutdown)},
		{name: "server crashed", set: service(datastores.StatusCrashed)},
		{name: "server blocked", set: service(datastores.StatusBlocked)},
		{name: "held: replica's snapshot", set: held(lifecycle.Backup, leads)},
		{name: "held: promotion, the source", set: held(lifecycle.Promote, leads)},
		{name: "held: promotion, a replica", set: held(lifecycle.Promote, withOther)},
		{name: "held: upgrade of its set, a replica", set: held(lifecycle.UpgradeSet, withOther)},

		{name: "failed: create", set: failed(lifecycle.Create, func(s *set3) { s.it.Prepared = false })},
		{name: "failed: create of a replica", set: failed(lifecycle.Create, follows, making)},
		{name: "failed: restart", set: failed(lifecycle.Restart, service(datastores.StatusCrashed))},
		{name: "failed: resize", set: failed(lifecycle.Resize, service(datastores.StatusShutdown))},
		{name: "failed: upgrade", set: failed(lifecycle.Upgrade)},
		{name: "failed: detach", set: failed(lifecycle.Detach, follows)},
		{name: "failed: promote", set: failed(lifecycle.Promote, withOther)},
		{name: "failed: eject", set: failed(lifecycle.Eject, leads)},
		{name: "failed: does not follow", set: failed(lifecycle.Follow, follows)},
		{name: "failed: does not follow the source of a failover yet", set: failed(lifecycle.Rejoin, follows)},
		{name: "failed: does not follow, and is asked again", set: failed(lifecycle.Stray, follows)},
		{name: "failed: refuses writes", set: failed(lifecycle.Fence)},
		{name: "failed: crashed replica", set: failed(lifecycle.Restart, follows, service(datastores.StatusCrashed))},

		at(lifecycle.Create, lifecycle.Launching), at(lifecycle.Create, lifecycle.Enrolling),
		at(lifecycle.Create, lifecycle.Snapshotting, follows), at(lifecycle.Create, lifecycle.Preparing),
		at(lifecycle.Restart, lifecycle.Restarting), at(lifecycle.Configure, lifecycle.Configuring), at(lifecycle.Backup, lifecycle.BackingUp), at(lifecycle.Modules, lifecycle.Bundling),
		at(lifecycle.Resize, lifecycle.Stopping), at(lifecycle.Resize, lifecycle.Resizing), at(lifecycle.Resize, lifecycle.Starting),
		at(lifecycle.Upgrade, lifecycle.Equipping), at(lifecycle.Upgrade, lifecycle.Upgrading), at(lifecycle.Upgrade, lifecycle.Reverting), at(lifecycle.Detach, lifecycle.Detaching, follows),
		at(lifecycle.Follow, lifecycle.Admitting, follows),
		at(lifecycle.Migrate, lifecycle.Quieting), at(lifecycle.Migrate, lifecycle.Saving), at(lifecycle.Migrate, lifecycle.Stopping), at(lifecycle.Migrate, lifecycle.Releasing),
		at(lifecycle.Migrate, lifecycle.Snapshotting, follows), at(lifecycle.Migrate, lifecycle.Yielding, held(lifecycle.Promote, leads)),
		ofSet(lifecycle.Promote, lifecycle.Fencing, withOther), ofSet(lifecycle.Promote, lifecycle.CatchingUp, withOther),
		ofSet(lifecycle.Promote, lifecycle.Promoting, withOther), ofSet(lifecycle.Promote, lifecycle.Unfencing, withOther),
		ofSet(lifecycle.Promote, lifecycle.Rejoining, withOther),
		at(lifecycle.Promote, lifecycle.Following, follows), ofSet(lifecycle.Eject, lifecycle.Electing, leads),
		ofSet(lifecycle.Eject, lifecycle.Promoting, withOther),
		ofSet(lifecycle.UpgradeSet, lifecycle.Inspecting, leads), ofSet(lifecycle.UpgradeSet, lifecycle.Renewing, leads),
		ofSet(lifecycle.UpgradeSet, lifecycle.Measuring, leads), ofSet(lifecycle.UpgradeSet, lifecycle.Reaching, leads),
		ofSet(lifecycle.Failover, lifecycle.Halting, leads), ofSet(lifecycle.Failover, lifecycle.Promoting, withOther), ofSet(lifecycle.Arrange, lifecycle.Standing, leads),
		ofSet(lifecycle.Arrange, lifecycle.Awaiting, leads), ofSet(lifecycle.Arrange, lifecycle.Levelling, leads),
		{name: "well, a cluster's member", set: clustered, cluster: true}, ofCluster(lifecycle.Build, lifecycle.Gathering), ofCluster(lifecycle.Grow, lifecycle.Settling),
		ofCluster(lifecycle.BackUpCluster, lifecycle.Keeping),
		ofCluster(lifecycle.Grow, "member: join", entering(lifecycle.Join, lifecycle.Entering)), ofCluster(lifecycle.Shrink, "member: leave", entering(lifecycle.Leave, lifecycle.Exiting)),
		at(lifecycle.Delete, lifecycle.Removing),
	}
}

// idOf makes further ids of an instance's: of its members (1, 2), its set (3), a host that is not there (7), its backup (8) and its command (9).
func idOf(in etcdschema.Instance, n int) string { return in.ID[:len(in.ID)-1] + fmt.Sprint(n) }

const (
	walkHost   = "00000000-0000-7000-9000-000000000001"
	walkGroup  = "00000000-0000-7000-9000-000000000002"
	walkModule = "00000000-0000-7000-9000-000000000003"
)

// build makes the nth state's records.
func (st stand) build(n int) set3 {
	base := etcdschema.Instance{
		Project: gatewaytest.Project, Datastore: "memory", Version: "1", Manager: "memory", FlavorID: "1",
		Flavor: etcdschema.Flavor{Name: "small", RAM: 512, VCPUs: 1, Disk: 1}, VolumeGB: 1, Prepared: true, Host: walkHost,
		Capabilities: []datastores.Capability{
			datastores.CanDatabases, datastores.CanUsers, datastores.CanAccess, datastores.CanRoot, datastores.CanConfiguration,
			datastores.CanBackup, datastores.CanReplication, datastores.CanLogs, datastores.CanUpgrade, datastores.CanModules,
		},
		Service: datastores.Status{Service: datastores.StatusHealthy}, Created: time.Now().UTC(), Updated: time.Now().UTC(),
		RootEnabled: true, RootEnabledAt: time.Now().UTC(), RootEnabledBy: "member",
	}
	s := set3{it: base, source: base, other: base}
	s.it.ID, s.it.Name, s.it.Configuration = fmt.Sprintf("00000000-0000-7000-8000-%011d0", n), "walk", walkGroup
	s.it.Address, s.source.Address, s.other.Address = fmt.Sprintf("127.98.1.%d", n), fmt.Sprintf("127.98.2.%d", n), fmt.Sprintf("127.98.3.%d", n)
	s.source.Name, s.other.Name = "source", "other"
	st.set(&s)
	return s
}
