package clustertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest/clustertest"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
)

// member is a manager as the stage needs it.
type member interface {
	datastores.Manager
	datastores.Cluster
	datastores.Root
	datastores.Databases
	datastores.Replication
	Forget(moment string)
	Heedless()
}

// defect is a fault that somebody may well build, and the test that must find it.
type defect struct {
	found string
	plant func(member) datastores.Manager
}

func defects() map[string]defect {
	forgets := func(moment string) func(member) datastores.Manager {
		return func(m member) datastores.Manager {
			m.Forget(moment)
			return m
		}
	}
	joined, left, settled := map[string]bool{}, map[string]bool{}, map[string]bool{}
	return map[string]defect{
		"a join that is done once":             {"found", func(m member) datastores.Manager { return once{member: m, joined: joined} }},
		"a settle that is done once":           {"found", func(m member) datastores.Manager { return once{member: m, settled: settled} }},
		"a leave that is done once":            {"shrink", func(m member) datastores.Manager { return once{member: m, left: left} }},
		"a leave that loses a row":             {"shrink", forgets(inmemory.AtLeave)},
		"a kill that loses a row":              {"killed", forgets(inmemory.AtKill)},
		"a restart that loses a row":           {"restart", forgets(inmemory.AtStart)},
		"a backup that loses a row":            {"backup", forgets(inmemory.AtRestore)},
		"a member that left and takes rows":    {"shrink", func(m member) datastores.Manager { return open{m} }},
		"a member outside that says nothing":   {"outside of a quorum", func(m member) datastores.Manager { return silent{m} }},
		"a member that is alone and goes on":   {"outside of a quorum", heedless},
		"a member that is cut off and goes on": {"cut off", heedless},
	}
}

// once does some things once only.
type once struct {
	member
	joined, left, settled map[string]bool // by id of the member; nil: again and again
}

func first(did map[string]bool, id string) error {
	if did[id] {
		return errors.New("that was done before")
	}
	if did != nil {
		did[id] = true
	}
	return nil
}

func (o once) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	return errors.Join(first(o.joined, v.Self), o.member.JoinCluster(ctx, v))
}

func (o once) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	return errors.Join(first(o.left, v.Self), o.member.LeaveCluster(ctx, v))
}

func (o once) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	return errors.Join(first(o.settled, v.ID), o.member.SettleCluster(ctx, v))
}

// open takes writes after it has left.
type open struct{ member }

func (o open) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	return errors.Join(o.member.LeaveCluster(ctx, v), o.ReplicationStrategies()[0].Source.SetReadOnly(ctx, false))
}

// silent is well as long as its server runs.
type silent struct{ member }

func (s silent) Status(ctx context.Context) datastores.Status {
	st := s.member.Status(ctx)
	if st.Service == datastores.StatusBlocked {
		st.Service = datastores.StatusHealthy
	}
	return st
}

func heedless(m member) datastores.Manager {
	m.Heedless()
	return m
}

const (
	plantedEnv = "COFFER_TEST_PLANTED"
	patience   = 20 * time.Second // with a defect, which has a test wait in vain
)

// TestPlanted: the stage finds each defect, in the test that is there for it.
func TestPlanted(t *testing.T) {
	if name := os.Getenv(plantedEnv); name != "" {
		memory := new(inmemory.Datastore)
		h := harness(memory, plant(t, memory, defects()[name]))
		h.Timeout = patience
		clustertest.Run(t, h)
		return
	}
	for name, d := range defects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test := "TestPlanted/" + strings.ReplaceAll(d.found, " ", "_")
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run", "^"+strings.ReplaceAll(test, "/", "$/^")+"$")
			cmd.Env = append(os.Environ(), plantedEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: "+test+" ") {
				t.Errorf("%s did not find it: %v\n%s", test, err, out)
			}
		})
	}
}

// plant is the datastore in memory with a defect.
func plant(t *testing.T, memory *inmemory.Datastore, d defect) datastores.Plugin {
	t.Helper()
	whole := memory.Plugin()
	var defaults inmemory.Options
	if err := json.Unmarshal(whole.Manifest().Offers[0].Guest, &defaults); err != nil {
		t.Fatal(err)
	}
	return datastores.NewPlugin("memory", defaults, func(env datastores.Env, o inmemory.Options) datastores.Manager {
		options, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		m, err := whole.Open(env, options)
		if err != nil {
			t.Fatal(err)
		}
		return d.plant(m.(member))
	})
}
