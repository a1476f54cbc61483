package mongodb

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/mongodbtest"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

// circle is a cluster of doubles, as the gateway makes it.
type circle struct {
	t       *testing.T
	options []byte
	view    datastores.ClusterView
	of      map[string]*Manager
}

func (c *circle) viewOf(id string) datastores.ClusterView {
	v := c.view
	v.Self, v.Members, v.Progress = id, slices.Clone(v.Members), func(string) {}
	return v
}

func (c *circle) open(env datastores.Env, options []byte) *Manager {
	c.t.Helper()
	var o Options
	must(c.t, json.Unmarshal(options, &o))
	return New(env, o)
}

// add makes members and has them join.
func (c *circle) add(ids ...string) {
	c.t.Helper()
	for _, id := range ids {
		env := newEnv(c.t)
		c.of[id] = c.open(env, c.options)
		c.view.Members = append(c.view.Members, datastores.ClusterMember{ID: id, Address: env.Address, State: datastores.ClusterJoins})
		v := c.viewOf(id)
		c.t.Cleanup(func() {
			if err := c.of[id].Stop(context.Background()); err != nil {
				c.t.Errorf("stop: member %s: %v", id, err)
			}
		})
		must(c.t, c.of[id].Prepare(c.t.Context(), datastores.PrepareRequest{Progress: v.Progress, Cluster: &v}))
		if on, err := c.of[id].RootEnabled(c.t.Context()); on || err != nil {
			c.t.Errorf("root of a member that has not joined: %v, %v", on, err)
		}
		must(c.t, c.of[id].JoinCluster(c.t.Context(), v))
		c.set(datastores.ClusterIn, id)
	}
}

func (c *circle) set(state datastores.ClusterState, ids ...string) {
	for i, m := range c.view.Members {
		if slices.Contains(ids, m.ID) {
			c.view.Members[i].State = state
		}
	}
}

func (c *circle) settle(by string) {
	c.t.Helper()
	must(c.t, c.of[by].SettleCluster(c.t.Context(), c.viewOf(by)))
}

// votes are how many members vote, by what the primary says, for which a member is asked.
func (c *circle) votes(at string) (n int) {
	c.t.Helper()
	must(c.t, c.of[at].lead(c.t.Context(), func(client *opmsg.Client) error {
		st, err := setStatus(c.t.Context(), client)
		n = st.Voting
		return err
	}))
	return n
}

// TestLostMajority: two of three members are lost for good at once. The last one, which could elect nobody, has the cluster go on with what it has, and
// others come to it.
func TestLostMajority(t *testing.T) {
	t.Parallel()
	p := mongodbtest.Build(t)
	c := &circle{t: t, options: optionsOf(t, p, "8.0"), of: map[string]*Manager{}, view: datastores.ClusterView{ID: "c", Secret: datastores.NewSecret("theClustersOwnSecret")}}
	c.add("a", "b", "c")
	c.settle("b")
	must(t, c.of["b"].CreateDatabase(t.Context(), datastores.Database{Name: "kept"}))
	c.settle("a")
	for _, id := range []string{"a", "c"} {
		must(t, kill(t.Context(), c.of[id].env))
	}
	c.set(datastores.ClusterLost, "a", "c")
	c.settle("b")
	c.view.Members = c.view.Of(datastores.ClusterIn)
	if list, err := c.of["b"].ListDatabases(t.Context()); err != nil || !has(list, "kept") {
		t.Errorf("the last member has %v, %v", list, err)
	}
	c.add("d")
	c.settle("d")
	must(t, c.of["d"].CreateUser(t.Context(), datastores.User{Name: "ann", Password: datastores.NewSecret("pass"), Databases: []datastores.Database{{Name: "kept"}}}))
}

// TestManyMembers: of nine members seven vote, which is all that may, and when one of them has left another one does in its place.
func TestManyMembers(t *testing.T) {
	t.Parallel()
	p := mongodbtest.Build(t)
	c := &circle{t: t, options: optionsOf(t, p, "8.0"), of: map[string]*Manager{}, view: datastores.ClusterView{ID: "c", Secret: datastores.NewSecret("theClustersOwnSecret")}}
	c.add("a", "b", "c", "d", "e", "f", "g", "h", "i")
	c.settle("i")
	if n := c.votes("a"); n != mostVoters {
		t.Errorf("of nine members %d vote", n)
	}
	c.set(datastores.ClusterLeaves, "a", "b")
	for _, id := range []string{"a", "b"} {
		must(t, c.of[id].LeaveCluster(t.Context(), c.viewOf(id)))
	}
	c.settle("c")
	if n := c.votes("i"); n != mostVoters {
		t.Errorf("of seven members that stayed %d vote", n)
	}
}

// TestClusterUpgrade: members get the new version one after the other, and the data their format when all have it.
func TestClusterUpgrade(t *testing.T) {
	t.Parallel()
	p := mongodbtest.Build(t)
	older, newer := optionsOf(t, p, "7.0"), optionsOf(t, p, "8.0")
	c := &circle{t: t, options: older, of: map[string]*Manager{}, view: datastores.ClusterView{ID: "c", Secret: datastores.NewSecret("theClustersOwnSecret")}}
	c.add("a", "b", "c")
	c.settle("a")
	format := func() (version string) {
		t.Helper()
		must(t, c.of["b"].lead(t.Context(), func(client *opmsg.Client) (err error) {
			version, err = formatOf(t.Context(), client)
			return err
		}))
		return version
	}
	for n, id := range []string{"a", "b", "c"} {
		if is := format(); is != "7.0" {
			t.Errorf("with %d members of 8.0 the data have format %s", n, is)
		}
		must(t, c.of[id].Stop(t.Context()))
		c.of[id] = c.open(c.of[id].env, newer)
		must(t, c.of[id].Upgrade(t.Context(), datastores.UpgradeRequest{From: older, Progress: func(string) {}}))
		c.settle(id)
	}
	if is := format(); is != "8.0" {
		t.Errorf("with all members of 8.0 the data have format %s", is)
	}
}

// TestStep: a configuration becomes what the members are by one change at a time.
func TestStep(t *testing.T) {
	members := func(addresses ...string) (all []datastores.ClusterMember) {
		for _, a := range addresses {
			all = append(all, datastores.ClusterMember{ID: a, Address: a})
		}
		return all
	}
	config := setConfig{Members: []bson.D{member(0, "a", true), member(1, "b", true), member(2, "c", false)}}
	in := members("a", "c", "d")
	steps := 0
	for config.step(in, in) {
		if steps++; steps > 10 {
			t.Fatal("it does not end")
		}
	}
	if steps != 3 || len(config.Members) != 3 || config.voters() != 3 || config.find(host("b")) >= 0 {
		t.Errorf("after %d steps: %v", steps, config.Members)
	}
}
