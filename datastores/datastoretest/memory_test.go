package datastoretest_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
)

// harness is that of the datastore in memory.
func harness(memory *inmemory.Datastore, plugin datastores.Plugin) datastoretest.Harness {
	return datastoretest.Harness{
		Plugin:         plugin,
		NewEnv:         func(t *testing.T) datastores.Env { return datastoretest.NewEnv(t) },
		Connect:        memory.Connect,
		ConnectTLS:     memory.ConnectTLS,
		Session:        memory.Session,
		Obstruct:       memory.Obstruct,
		FewConnections: datastores.Values{"max_connections": json.Number("5")},
		Kinds:          memory.Kinds(),
		Write:          memory.Write,
		Digest:         memory.Digest,
		Dynamic:        datastores.Values{"max_connections": json.Number("7"), "strict": false, "greeting": "good morning"},
		Static:         datastores.Values{"boot": "slow", "cache_mb": json.Number("64")},
		Show: func(ctx context.Context, m datastores.Manager, parameter string) (string, error) {
			if p, ok := m.(interface{ inside() datastores.Manager }); ok {
				m = p.inside()
			}
			return memory.Show(ctx, m, parameter)
		},
		Refused:          []datastores.Values{{"boot": "never"}, {"cache_mb": json.Number("1048576")}, {"ratio": json.Number("1")}},
		Options:          []byte(`{"release":2}`),
		Older:            []byte(`{"release":1}`),
		UpgradeObstacles: []datastoretest.UpgradeObstacle{{Name: "a lock", Make: memory.Obstruct}},
		Exceptions: []datastoretest.Exception{
			{Test: "process", Reason: "its servers are values in memory"},
		},
		Kill: func(_ context.Context, env datastores.Env) error {
			memory.Crash(env.Address)
			return nil
		},
	}
}

func TestMemory(t *testing.T) {
	for name, memory := range map[string]*inmemory.Datastore{
		"replicas copy":            {},
		"replicas start of backup": {ReplicaBackup: true, BackupBytes: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) { datastoretest.Run(t, harness(memory, memory.Plugin())) })
	}
}

// TestParametersOfOneKind: all parameters of a datastore may need a restart, or none.
func TestParametersOfOneKind(t *testing.T) {
	for name, restart := range map[string]bool{"all need a restart": true, "none needs a restart": false} {
		t.Run(name, func(t *testing.T) {
			memory := new(inmemory.Datastore)
			h := harness(memory, plant(t, memory, defect{plant: func(m everything) datastores.Manager { return oneKind{planted{m}, restart} }}))
			h.FewConnections = nil
			if restart {
				h.Dynamic, h.Refused = nil, h.Refused[:2]
			} else {
				h.Static, h.Refused = nil, h.Refused[2:]
			}
			datastoretest.Run(t, h)
		})
	}
}

// oneKind has parameters of one kind.
type oneKind struct {
	planted
	restart bool
}

func (o oneKind) Parameters() []datastores.Parameter {
	return slices.DeleteFunc(o.planted.Parameters(), func(p datastores.Parameter) bool { return p.RestartRequired != o.restart })
}
