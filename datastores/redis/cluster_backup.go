package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/datastores"
)

// A part of a cluster's backup is what the master of a shard has, made as a server alone makes a backup. It says nothing of slots. A server
// that is started as a member, knows no cluster and has data takes the slots of its keys for its own ("Taking responsibility for it", says its
// log): https://github.com/redis/redis/blob/7.0/src/cluster.c, verifyClusterConfigWithData. So the members that begin with the parts have
// slots in which nobody else has a key, and settling gives those that nobody has to whoever has too few, and evens out the rest.
//
// That holds as long as no two parts have keys of one slot: of two members that claim it one would throw its keys away. See wholeShard.

// wholeShard refuses a backup of a member that does not have all of its shard: a replica, which may be behind; a master of the minority,
// in whose place there may be another one; and one with slots on their way, whose keys lie with two members. A server that is no member
// has everything.
func (m *Manager) wholeShard(ctx context.Context) error {
	if !m.isMember() {
		return nil
	}
	return m.talk(ctx, func(c *conn) error {
		info, err := c.call("CLUSTER", "INFO")
		if err != nil {
			return fmt.Errorf("CLUSTER INFO: %w", err)
		}
		text, err := c.call("CLUSTER", "NODES")
		if err != nil {
			return fmt.Errorf("CLUSTER NODES: %w", err)
		}
		all, err := parseNodes(text)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(n node) bool { return n.has("myself") })
		if at < 0 {
			return errors.New("the reply of CLUSTER NODES lacks the server that was asked")
		}
		switch me := all[at]; {
		case me.master != "":
			return datastores.Errorf(datastores.Conflict, "the member is a replica; the one that takes the writes of its shard makes the backup: ask for it again")
		case parseInfo(info)["cluster_state"] != "ok":
			return datastores.Errorf(datastores.Conflict, "the member does not reach enough of its cluster, and another one may have taken its place; ask for the backup when the cluster is well")
		case len(me.open) > 0:
			return datastores.Errorf(datastores.Conflict, "slot %d and %d more are on their way to another member; have the cluster mended, and ask for the backup again", me.open[0].slot, len(me.open)-1)
		}
		return nil
	})
}
