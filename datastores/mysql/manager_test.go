package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
)

func TestPrepareMakesASecuredServer(t *testing.T) {
	m := prepared(t)
	if s := m.Status(t.Context()); s.Service != datastores.StatusHealthy || time.Since(s.Since) > time.Minute {
		t.Fatalf("status %+v", s)
	}
	users, err := m.ListUsers(t.Context())
	must(t, err)
	want := []datastores.User{
		{Name: "mariadb.sys", Host: "localhost", Databases: nil},
		{Name: "os_admin", Host: "localhost", Databases: nil},
	}
	if diff := cmp.Diff(want, users, cmp.AllowUnexported(datastores.Secret{})); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	for _, user := range []string{"root", "os_admin", "mysql", ""} {
		if _, err := login(t, m, user, "", ""); err == nil {
			t.Errorf("%q can log in without a password", user)
		}
	}
	databases, err := m.ListDatabases(t.Context())
	must(t, err)
	for _, d := range databases {
		if d.Name == "test" {
			t.Error("there is a database test")
		}
	}
	for variable, want := range map[string]string{
		"secure_file_priv":       m.path(filesDir) + "/",
		"local_infile":           "0",
		"skip_name_resolve":      "1",
		"bind_address":           m.env.Address,
		"character_set_database": "utf8mb4",
	} {
		var got string
		must(t, admin(t, m).QueryRow("SELECT @@GLOBAL."+variable).Scan(&got))
		if got != want {
			t.Errorf("%s = %q, want %q", variable, got, want)
		}
	}
	wantZones(t, m)
	info, err := os.Stat(filepath.Join(m.env.Dir, adminPasswordName))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the password's file has mode %v", info.Mode())
	}
}

// A guest may be killed at any point of prepare: here before the data directory is made, while, and after.
func TestPrepareAfterACut(t *testing.T) {
	env := newEnv(t)
	cut := func(when func(step int, cancel context.CancelFunc)) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		step := 0
		return newManager(t, env).Prepare(ctx, datastores.PrepareRequest{Progress: func(string) {
			when(step, cancel)
			step++
		}})
	}
	if err := cut(func(step int, cancel context.CancelFunc) { cancel() }); err == nil {
		t.Fatal("prepare did not see that it was cancelled")
	}
	killedWhileWriting(t, env)
	if s := newManager(t, env).Status(t.Context()); s.Service != datastores.StatusNew {
		t.Fatalf("status %+v after a cut in the making", s)
	}
	if err := cut(func(step int, cancel context.CancelFunc) {
		if step == 1 {
			cancel()
		}
	}); err == nil {
		t.Fatal("prepare did not see that it was cancelled before the start")
	}
	made, err := os.Stat(filepath.Join(env.DataDir, dataDir))
	must(t, err)

	m := newManager(t, env)
	must(t, m.Prepare(t.Context(), quietly()))
	must(t, m.CreateDatabase(t.Context(), datastores.Database{Name: "kept"}))
	must(t, newManager(t, env).Prepare(t.Context(), quietly()))
	now, err := os.Stat(filepath.Join(env.DataDir, dataDir))
	must(t, err)
	if !os.SameFile(made, now) {
		t.Error("a complete data directory was made anew")
	}
	if left, _ := filepath.Glob(filepath.Join(env.DataDir, dataDir+".making-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	must(t, requireDatabases(t.Context(), admin(t, m), []string{"kept"}))
}

const envOfKilled = "COFFER_MYSQL_TEST_ENV"

// killedWhileWriting runs prepare in another process, and kills that as soon as the server writes tables.
func killedWhileWriting(t *testing.T, env datastores.Env) {
	t.Helper()
	env.Log = nil
	encoded, err := json.Marshal(struct {
		datastores.Env
		TLS *struct{} `json:",omitempty"` // a function has no JSON
	}{Env: env})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	guest := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestPrepareToBeKilled$")
	guest.Env = append(os.Environ(), envOfKilled+"="+string(encoded))
	must(t, guest.Start())
	ended := make(chan error, 1)
	go func() { ended <- guest.Wait() }()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if tables, _ := filepath.Glob(filepath.Join(env.DataDir, dataDir+".making-*", "mysql", "*.frm")); len(tables) > 0 {
				cancel()
				<-ended
				return
			}
		case err := <-ended:
			t.Fatalf("prepare ended before it was killed: %v", err)
		}
	}
}

// TestPrepareToBeKilled is the process that [killedWhileWriting] starts.
func TestPrepareToBeKilled(t *testing.T) {
	encoded := os.Getenv(envOfKilled)
	if encoded == "" {
		t.Skip("run by TestPrepareAfterACut")
	}
	var env datastores.Env
	must(t, json.Unmarshal([]byte(encoded), &env))
	env.Log = slog.New(slog.DiscardHandler)
	must(t, New(env, DefaultOptions()).Prepare(t.Context(), quietly()))
}

func TestPrepareAdoptsAVolumeWhoseGuestIsNew(t *testing.T) {
	m := prepared(t)
	must(t, m.CreateDatabase(t.Context(), datastores.Database{Name: "kept"}))
	must(t, os.Remove(filepath.Join(m.env.Dir, adminPasswordName)))
	must(t, m.Prepare(t.Context(), quietly()))
	must(t, requireDatabases(t.Context(), admin(t, m), []string{"kept"}))
}

func TestServerOutlivesItsGuest(t *testing.T) {
	m := prepared(t)
	before := m.Status(t.Context())
	next := newManager(t, m.env)
	must(t, next.Start(t.Context()))
	if diff := cmp.Diff(before, next.Status(t.Context())); diff != "" {
		t.Errorf("the next guest sees another server (-before +after):\n%s", diff)
	}
}

func TestStatus(t *testing.T) {
	m := prepared(t)
	pid, _, _ := m.service.Running()

	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if s := m.Status(ctx); s.Service != datastores.StatusBlocked {
		t.Errorf("a server that does not answer: %+v", s)
	}
	must(t, syscall.Kill(pid, syscall.SIGCONT))

	must(t, syscall.Kill(pid, syscall.SIGKILL))
	for m.Status(t.Context()).Service == datastores.StatusBlocked {
	}
	if s := m.Status(t.Context()); s.Service != datastores.StatusShutdown || s.Message == "" {
		t.Errorf("a server that was killed: %+v", s)
	}
	must(t, m.Start(t.Context()))
	must(t, m.Start(t.Context()))
	if s := m.Status(t.Context()); s.Service != datastores.StatusHealthy {
		t.Errorf("after crash recovery: %+v", s)
	}
	must(t, m.Stop(t.Context()))
	must(t, m.Stop(t.Context()))
	if s := m.Status(t.Context()); s.Service != datastores.StatusShutdown || s.Message != "" {
		t.Errorf("a stopped server: %+v", s)
	}
}

func TestStartAfterRootTookTheAdministrationAccount(t *testing.T) {
	m := prepared(t)
	must(t, m.CreateDatabase(t.Context(), datastores.Database{Name: "kept"}))
	must(t, execute(t.Context(), admin(t, m), "TRUNCATE mysql.time_zone_name", "DROP USER os_admin@localhost"))
	if s := m.Status(t.Context()); s.Service != datastores.StatusBlocked {
		t.Errorf("status %+v", s)
	}
	if err := m.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("starting the running server: %v", err)
	}
	must(t, m.Stop(t.Context()))
	must(t, m.Start(t.Context()))
	must(t, requireDatabases(t.Context(), admin(t, m), []string{"kept"}))
	wantZones(t, m) // as of a server that was made before there were any
	var last string
	must(t, admin(t, m).QueryRow("SELECT @@GLOBAL.gtid_binlog_pos").Scan(&last))
	if !strings.HasSuffix(last, "-3") {
		t.Errorf("the binary log ends at %s; want the database and two statements in it", last)
	}
}

// wantZones sets and converts to a named time zone.
func wantZones(t *testing.T, m *Manager) {
	t.Helper()
	var noon string
	db := admin(t, m)
	must(t, execute(t.Context(), db, "SET time_zone = 'Europe/Berlin'"))
	must(t, db.QueryRow("SELECT CONVERT_TZ('2026-07-01 12:00:00', 'UTC', 'America/New_York')").Scan(&noon))
	if noon != "2026-07-01 08:00:00" {
		t.Errorf("noon in New York is %q", noon)
	}
}

func TestStartTellsWhatTheServerSaid(t *testing.T) {
	m := prepared(t)
	must(t, m.Stop(t.Context()))
	other, err := net.Listen("tcp", net.JoinHostPort(m.env.Address, fmt.Sprint(port)))
	must(t, err)
	defer func() { _ = other.Close() }()
	if told := datastores.Told(m.Start(t.Context())); told == nil || !strings.Contains(told.Message, "already in use") {
		t.Errorf("got %+v", told)
	}
}
