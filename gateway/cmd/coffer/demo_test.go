package main

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestDemo is the demo as people see it: all of it runs, on real databases, and nothing stays.
func TestDemo(t *testing.T) {
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	datastoretest.Require(t, "/usr/sbin/mariadbd", "mariadb-server")
	datastoretest.Require(t, "/usr/bin/mariadb-backup", "mariadb-backup")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, gatewaytest.Build(t).Path("coffer"), "demo", "--definitions", "../../../deployments/definitions")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
