package mongodb

import (
	"cmp"
	"context"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

// Following implements [datastores.Replication].
func (m *Manager) Following(ctx context.Context) (f datastores.Following, err error) {
	id, err := m.identity()
	if err != nil || id.Source == nil {
		return datastores.Following{Role: datastores.RoleSource}, err
	}
	err = m.talk(ctx, func(c *opmsg.Client) error {
		st, err := setStatus(ctx, c)
		if opmsg.HasCode(err, invalidReplicaSetConfig, notYetInitialized) {
			f = datastores.Following{Role: datastores.RoleReplica, Why: "it is no member of its source's replica set"}
			return nil
		}
		f = st.following(id.Source.Address)
		return err
	})
	return f, err
}

// following is how a replica of the server at an address gets on.
func (st status) following(address string) datastores.Following {
	f := datastores.Following{Role: datastores.RoleReplica, At: st.OpTimes.Applied.position().ID}
	self, _ := st.member(func(m memberStatus) bool { return m.Self })
	from, there := st.member(func(m memberStatus) bool { return m.Name == host(address) })
	switch {
	case !there:
		f.Why = "its source is no member of its replica set"
	case from.Health != 1:
		f.Why = "its source does not answer: " + cmp.Or(from.Message, from.Text)
	case from.State != statePrimary:
		f.Why = "its source is in state " + from.Text
	case st.State != stateSecondary:
		f.Why = cmp.Or(self.Info, "it is in state "+self.Text)
	default:
		f.Follows = true
	}
	if there && from.Health == 1 {
		behind := from.OpTime.position().Count > st.OpTimes.Applied.position().Count
		f.Waits = behind
		seconds := int64(0)
		if behind {
			seconds = int64(from.OpTime.TS.T) - int64(st.OpTimes.Applied.TS.T)
		}
		f.Lag = datastores.Lag{datastores.Seconds: max(seconds, 0)}
	}
	return f
}
