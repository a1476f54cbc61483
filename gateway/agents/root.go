package agents

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// rootChange is what has become of a server's root.
type rootChange struct {
	on bool
	by string // who enabled it
	at time.Time
}

// apply keeps who has enabled root first, and when, after it was disabled.
func (c rootChange) apply(in *etcdschema.Instance) {
	in.RootEnabled = c.on
	if c.on && in.RootEnabledAt.IsZero() {
		in.RootEnabledAt, in.RootEnabledBy = c.at, c.by
	}
}

// rememberRoot records a change of a server's root. Replicas have their source's, but where every server has users of its own.
func (be *Backend) rememberRoot(s etcdschema.Snapshot, in etcdschema.Instance, c rootChange) (plan.Moves, error) {
	c.apply(&in)
	member, err := plan.MemberOf(s, in)
	if err != nil {
		return plan.Moves{}, err
	}
	m := plan.Moves{After: member, Ops: []etcdschema.Op{etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in)}}
	if in.UsersPerServer {
		return m, nil
	}
	for _, id := range member.Replicas() {
		key := etcdschema.InstanceKey(in.Project, id)
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return m, err
		}
		if rec.Found {
			c.apply(&rec.Value)
			m.Ops = append(m.Ops, etcdschema.Put(key, rec.Value))
		}
	}
	return m, nil
}

// asPrepared records what a new server's guest says of it: whether it takes TLS, and whether there is root, which a backup brings along.
// A guest of an earlier version says nothing.
func asPrepared(in *etcdschema.Instance, said json.RawMessage, now time.Time) {
	var reply datastores.PrepareReply
	if err := json.Unmarshal(said, &reply); err != nil {
		return
	}
	in.Service.TLS = reply.TLS
	if reply.RootEnabled == nil {
		return
	}
	c := rootChange{on: *reply.RootEnabled, at: now}
	if len(in.Restore) > 0 {
		c.by = "backup " + in.Restore[len(in.Restore)-1]
	}
	c.apply(in)
}

// keepDefaults keeps what a guest says that its server has without a configuration group, for when the guest cannot be asked.
func keepDefaults(s etcdschema.Snapshot, cmd etcdschema.Command, result agentpoll.Result) ([]etcdschema.Op, error) {
	said := datastores.ConfigurationReply{}
	if result.Error != nil || cmd.Method != datastores.MethodPrepare && cmd.Method != datastores.MethodGetConfiguration || len(result.Value) > limits.MaxValues {
		return nil, nil
	}
	if err := json.Unmarshal(result.Value, &said); err != nil || len(said.Configuration) == 0 {
		return nil, nil // a guest of an earlier version
	}
	in, err := etcdschema.Read(s, etcdschema.InstanceKey(cmd.Project, cmd.Instance))
	if err != nil || !in.Found {
		return nil, err
	}
	key := etcdschema.DefaultsKey(cmd.Instance)
	had, err := etcdschema.Read(s, key)
	is := etcdschema.Defaults{Version: in.Value.Version, Flavor: in.Value.Flavor, Configuration: said.Configuration}
	if err != nil || reflect.DeepEqual(had.Value, is) {
		return nil, err
	}
	return []etcdschema.Op{etcdschema.Put(key, is)}, nil
}
