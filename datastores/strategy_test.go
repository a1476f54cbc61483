package datastores

import (
	"errors"
	"strings"
	"testing"
)

func TestChooseStrategy(t *testing.T) {
	all := []StrategyName{{"mysql_impl", "mariabackup"}, {"mysql_impl", "mysqldump"}, {"acme", "mysqldump"}}
	for _, c := range []struct {
		namespace, name string
		want            string // "": there is none
	}{
		{"", "", "mysql_impl/mariabackup"},
		{"", "mysqldump", "mysql_impl/mysqldump"},
		{"acme", "mysqldump", "acme/mysqldump"},
		{"acme", "", "acme/mysqldump"},
		{"acme", "mariabackup", ""},
		{"", "xtrabackup", ""},
		{"", "MysqlDump", ""},
	} {
		got, err := ChooseStrategy(all, c.namespace, c.name)
		if c.want == "" {
			var e *Error
			if !errors.As(err, &e) || e.Kind != Invalid || !strings.Contains(e.Message, "acme/mysqldump") {
				t.Errorf("%q in %q: %v, want an invalid that says what there is", c.name, c.namespace, err)
			}
		} else if err != nil || got.String() != c.want {
			t.Errorf("%q in %q: %v, %v; want %s", c.name, c.namespace, got, err, c.want)
		}
	}
	if _, err := ChooseStrategy([]StrategyName(nil), "", ""); err == nil {
		t.Error("a strategy was found among none")
	}
}

// TestStrategyProblems: what a definition chooses must be listed, in both halves.
func TestStrategyProblems(t *testing.T) {
	listed := []Strategy{{StrategyName: StrategyName{"mysql_impl", "mariabackup"}, Incremental: true}, {StrategyName: StrategyName{"acme", "snap"}}}
	server := ServerOptions{Manager: "mysql", BackupStrategies: listed, BackupStrategy: "snap"}
	if problems := server.Problems(); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	bad := server
	bad.BackupStrategy, bad.ReplicationStrategy = "dump", "binlog"
	bad.ReplicationStrategies = []Strategy{{StrategyName: StrategyName{"", "gtid"}}}
	wantProblems(t, bad.Problems(),
		`backup_strategy: "dump" is not a strategy of manager mysql; its manifest lists: mysql_impl/mariabackup, acme/snap`,
		`replication_strategy: "/gtid"`, `replication_strategy: "binlog"`)

	for _, c := range []struct {
		guest GuestOptions
		says  []string
	}{
		{GuestOptions{}, nil},
		{GuestOptions{BackupStrategy: "mariabackup", BackupNamespace: "mysql_impl", RestoreNamespace: "acme"}, nil},
		{GuestOptions{BackupNamespace: "acme"}, nil}, // where the server half's snap is
		{GuestOptions{BackupNamespace: "mysql_impl"}, []string{"backup_namespace:"}},
		{GuestOptions{BackupStrategy: "dump"}, []string{"backup_strategy:"}},
		{GuestOptions{BackupStrategy: "mariabackup", BackupNamespace: "acme"}, []string{"backup_namespace:"}},
		{GuestOptions{RestoreNamespace: "x", ReplicationNamespace: "y"}, []string{"restore_namespace:", "replication_namespace:"}},
	} {
		wantProblems(t, Disagreements(server, c.guest), c.says...)
	}
}

// wantProblems checks that there are just these, in this order, each with the beginning that it should have.
func wantProblems(t *testing.T, problems []error, want ...string) {
	t.Helper()
	if len(problems) != len(want) {
		t.Errorf("problems %v, want %q", problems, want)
		return
	}
	for i, p := range problems {
		if !strings.HasPrefix(p.Error(), want[i]) {
			t.Errorf("problem %v, want %s", p, want[i])
		}
	}
}
