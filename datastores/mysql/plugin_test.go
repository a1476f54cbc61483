package mysql_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mysql"
)

func ExamplePlugin() {
	for _, offer := range mysql.Plugin().Manifest().Offers {
		fmt.Println(offer.Datastore, offer.Version, offer.Server.TCPPorts, offer.Server.Capabilities)
	}
	// Output:
	// mariadb 10.11 [3306] [databases users access root configuration backup incremental_backup replication logs upgrade tls cluster point_in_time check modules failover]
	// mariadb 11.8 [3306] [databases users access root configuration backup incremental_backup replication logs upgrade tls cluster point_in_time check modules failover]
	// mysql 9.7 [3306] [databases users access root configuration backup replication logs upgrade tls cluster check modules]
	// mysql mariadb-10.11 [3306] [databases users access root configuration backup incremental_backup replication logs upgrade tls cluster point_in_time check modules failover]
	// percona 8.0 [3306] [databases users access root configuration backup incremental_backup replication logs upgrade tls check modules]
}

func TestOptionsTellEveryProblem(t *testing.T) {
	_, err := mysql.Plugin().Open(datastores.Env{}, []byte(`{"mount_point":"data","program":"mariadbd","max_connections":3}`))
	for _, option := range []string{"mount_point", "program", "max_connections"} {
		if err == nil || !strings.Contains(err.Error(), option+": ") {
			t.Errorf("%s is not among the problems: %v", option, err)
		}
	}
}
