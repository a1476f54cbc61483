package datastores

import (
	"cmp"
	"fmt"
	"regexp"
)

// StrategyName names a strategy: a way of making backups or replicas. What is registered under it is a value that the
// manager returns; the definition chooses among them.
type StrategyName struct {
	Namespace string `json:"namespace"` // such as mysql_impl
	Name      string `json:"name"`      // such as mariabackup
}

func (n StrategyName) String() string { return n.Namespace + "/" + n.Name }

// IsZero reports whether n names nothing.
func (n StrategyName) IsZero() bool { return n == StrategyName{} }

func (n StrategyName) name() StrategyName { return n }

// Strategy is a line of a manifest, and of the server half of a definition.
type Strategy struct {
	StrategyName
	Incremental bool `json:"incremental,omitempty"` // of a backup strategy
	Replays     bool `json:"replays,omitempty"`     // of a backup strategy: the log can be replayed on what it made, see [PointInTime]
	Logical     bool `json:"logical,omitempty"`     // of a backup strategy: newer versions of the datastore can load what it made, too
	Upgrades    bool `json:"upgrades,omitempty"`    // of a backup strategy: so can they what is the files of an older version
	// Tool, of a backup strategy, names the program whose own output can be brought in as a backup, see [BackupStrategy]; "": none's can.
	Tool string `json:"tool,omitempty"`
	// Precision, in seconds, is [BackupStrategy.Precision].
	Precision float64 `json:"precision,omitempty"`
}

// AnyStrategy is a type that embeds a [StrategyName]: [BackupStrategy], [ReplicationStrategy].
type AnyStrategy interface{ name() StrategyName }

// StrategyNames returns the names of strategies, in their order.
func StrategyNames[S AnyStrategy](all []S) []StrategyName {
	names := make([]StrategyName, len(all))
	for i, s := range all {
		names[i] = s.name()
	}
	return names
}

// ChooseStrategy returns the strategy that a definition chooses: by name, and by namespace when one is given. Without a name
// it is the first one.
func ChooseStrategy[S AnyStrategy](all []S, namespace, name string) (S, error) {
	for _, s := range all {
		n := s.name()
		if n.Name == cmp.Or(name, n.Name) && n.Namespace == cmp.Or(namespace, n.Namespace) {
			return s, nil
		}
	}
	var none S
	return none, Errorf(Invalid, "there is no strategy %q in namespace %q; there is: %v", name, namespace, StrategyNames(all))
}

var strategyName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)

func (n StrategyName) problem() error {
	if !strategyName.MatchString(n.Namespace) || !strategyName.MatchString(n.Name) {
		return fmt.Errorf("%q is no strategy; want a namespace and a name", n)
	}
	return nil
}
