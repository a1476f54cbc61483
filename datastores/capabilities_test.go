package datastores

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ableManager has what the manifest tells of: parameters, strategies, logs.
type ableManager struct {
	testManager
	strategies []BackupStrategy
}

func (ableManager) Parameters() []Parameter                 { return []Parameter{{Name: "a", Type: BooleanParameter}} }
func (ableManager) DefaultConfiguration() map[string]string { return nil }
func (ableManager) UpdateOverrides(context.Context, Values) (bool, error) {
	return false, nil
}
func (m ableManager) BackupStrategies() []BackupStrategy { return m.strategies }
func (ableManager) Logs() []Log                          { return []Log{{Name: "general", Type: UserLog}} }
func (ableManager) LogFile(string) string                { return "/x" }
func (ableManager) SetLog(context.Context, string, bool) (bool, error) {
	return false, nil
}
func (ableManager) Upgrade(context.Context, UpgradeRequest) error { return nil }

func ablePlugin(strategies []BackupStrategy, offers ...Offer) Plugin {
	defaults := testOptions{GuestOptions: GuestOptions{MountPoint: "/var/lib/test"}, Port: 1}
	return NewPlugin("able", defaults, func(_ Env, o testOptions) Manager { return ableManager{testManager{o}, strategies} }, offers...)
}

// TestManifestTellsOfTheManager: what the manager can do stands in every offer, so that the gateway need not ask.
func TestManifestTellsOfTheManager(t *testing.T) {
	dump, copied := StrategyName{"able_impl", "dump"}, StrategyName{"able_impl", "copy"}
	strategies := []BackupStrategy{{StrategyName: dump, Logical: true}, {StrategyName: copied, Incremental: true, Upgrades: true}}
	m := ablePlugin(strategies, Offer{Version: "1"}, Offer{Version: "2", Server: ServerOptions{BackupStrategy: "copy"}}).Manifest()
	caps := []Capability{CanRoot, CanConfiguration, CanBackup, CanIncrementalBackup, CanLogs, CanUpgrade}
	want := ServerOptions{
		Manager: "able", Capabilities: caps, BackupStrategy: "dump",
		BackupStrategies: []Strategy{{StrategyName: dump, Logical: true}, {StrategyName: copied, Incremental: true, Upgrades: true}},
		Parameters:       []Parameter{{Name: "a", Type: BooleanParameter}},
	}
	if diff := cmp.Diff(want, m.Offers[0].Server); diff != "" {
		t.Error(diff)
	}
	if got := m.Offers[1].Server.BackupStrategy; got != "copy" {
		t.Errorf("the offer chooses %q", got)
	}
	if diff := cmp.Diff([]Log{{Name: "general", Type: UserLog}}, m.Logs); diff != "" {
		t.Error(diff)
	}
	if b, err := json.Marshal(m.Offers[0].Server.BackupStrategies[0]); err != nil || string(b) != `{"namespace":"able_impl","name":"dump","logical":true}` {
		t.Errorf("a strategy stands there as %s, %v", b, err)
	}
	if full := ablePlugin(strategies[:1]).Manifest().Capabilities; slices.Contains(full, CanIncrementalBackup) {
		t.Errorf("no strategy is incremental, and the capabilities are %v", full)
	}
}

func TestOfferOfAnUnknownStrategyPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was taken")
		}
	}()
	strategies := []BackupStrategy{{StrategyName: StrategyName{"able_impl", "dump"}}}
	ablePlugin(strategies, Offer{Server: ServerOptions{BackupStrategy: "copy"}})
}

// TestCapabilitiesAreAllNamed: what may be computed may be written into a definition.
func TestCapabilitiesAreAllNamed(t *testing.T) {
	for _, method := range Methods() {
		if method.Needs != "" && !slices.Contains(AllCapabilities(), method.Needs) {
			t.Errorf("method %s needs %q, which no definition may name", method.Name, method.Needs)
		}
	}
}
