package gatewaytest_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestAcross has backups of real servers go from one project into another one in a file, by the command line, and one of a server that
// is not Coffer's come in as its own tool has written it. Every row is there afterwards.
func TestAcross(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/lib/postgresql/15/bin/pg_basebackup", "postgresql-15")
	datastoretest.Require(t, "/usr/bin/mariadb-backup", "mariadb-backup")
	p := programs(t)
	w := newWorld(t, p, true)
	there := w.tenant
	there.Token, there.Project = gatewaytest.Other, "p2"
	dir := t.TempDir()
	coffer := func(c tenant, args ...string) string {
		cmd := exec.CommandContext(t.Context(), p.Path("coffer"), append([]string{"backup"}, args...)...)
		cmd.Env = []string{"COFFER_ENDPOINT=" + c.URL + "/v1.0/" + c.Project, "COFFER_TOKEN=" + c.Token}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("coffer %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	key := filepath.Join(dir, "key")
	public := coffer(w.tenant, "key", key)

	// restored makes an instance of a backup there, and wants so many rows in it.
	restored := func(d datastore, backup string, rows int) {
		id := there.create(t, backup, d, fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, there.backupNamed(t, backup)))
		w.instances = append(w.instances, id)
		there.Await(t, id, "ACTIVE", patience)
		address := there.Want(t, http.StatusOK, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "ip", 0)
		numbers, err := d.read(t.Context(), d.login(address, ""))
		if err != nil || len(numbers) != rows {
			t.Errorf("%s: %d rows, want %d: %v", backup, len(numbers), rows, err)
		}
		there.do(t, http.StatusAccepted, gone, http.MethodDelete, gatewaytest.Instance(id), "")
		there.AwaitGone(t, id, patience)
	}
	for _, d := range []datastore{mariadbStore, postgresqlStore} {
		id := w.tenant.create(t, "leaves", d, d.tenantPart())
		w.instances = append(w.instances, id)
		w.Await(t, id, "ACTIVE", patience)
		l := d.login(w.Want(t, http.StatusOK, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "ip", 0), "")
		for n, more := range []string{"", "--incremental"} {
			if _, err := d.write(t.Context(), l, n*50, n*50+50); err != nil {
				t.Fatal(err)
			}
			args := []string{"create", id, fmt.Sprintf("%s-%d", d, n), "--wait"}
			if more != "" {
				args = append(args, more)
			}
			coffer(w.tenant, args...)
		}
		file := filepath.Join(dir, string(d))
		coffer(w.tenant, "export", string(d)+"-1", file, "--recipient", public)
		w.removeWithBackups(t, id)
		coffer(there, "import", file, "--name", string(d), "--identity", key)
		restored(d, string(d), 100)
	}
	coffer(there, "import", plainTars(t, w.address(9, 5499)), "--from", "pg_basebackup", "--datastore", "postgresql", "--datastore-version", "15", "--name", "plain")
	restored(postgresqlStore, "plain", 70)

	there.Want(t, http.StatusAccepted, http.MethodDelete, "/backups/"+there.backupNamed(t, "plain"), "")
	for _, d := range []datastore{mariadbStore, postgresqlStore} {
		there.Want(t, http.StatusAccepted, http.MethodDelete, "/backups/"+there.backupNamed(t, string(d)+"-0"), "")
	}
	until.True(t, patience, "no backup is left", func() bool {
		return there.Want(t, http.StatusOK, http.MethodGet, "/backups", "").At("backups", 0) == nil
	})
	w.end(t)
}

// backupNamed is the id of a backup.
func (c tenant) backupNamed(t *testing.T, name string) string {
	t.Helper()
	a := c.Want(t, http.StatusOK, http.MethodGet, "/backups", "")
	for i := 0; a.At("backups", i) != nil; i++ {
		if a.Text("backups", i, "name") == name {
			return a.Text("backups", i, "id")
		}
	}
	t.Fatalf("there is no backup %q: %s", name, a.Body)
	return ""
}

// plainTars is what pg_basebackup writes into a directory, of a server with 70 rows that initdb and its administrator have made.
func plainTars(t *testing.T, address string) string {
	t.Helper()
	owner, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	dir, err := os.MkdirTemp("", "plain")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	as := func(program string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join("/usr/lib/postgresql/15/bin", program), args...)
		cmd.Dir, cmd.Env = dir, []string{"LC_ALL=C.UTF-8", "PGCONNECT_TIMEOUT=10"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return cmd
	}
	run := func(program string, args ...string) {
		t.Helper()
		if out, err := as(program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	host, port, _ := strings.Cut(address, ":")
	run("initdb", "-D", dir+"/data", "-U", "postgres", "--auth=trust", "--locale=C.UTF-8")
	server := as("postgres", "-D", dir+"/data", "-c", "listen_addresses="+host, "-c", "port="+port, "-c", "unix_socket_directories=")
	hba := fmt.Sprintf("host all all %[1]s/8 trust\nhost replication all %[1]s/8 trust\n", host)
	if err := os.WriteFile(dir+"/data/pg_hba.conf", []byte(hba), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGINT)
		_ = server.Wait()
	}()
	login := []string{"-h", host, "-p", port, "-U", "postgres"}
	until.True(t, patience, "the server answers", func() bool { return as("pg_isready", login...).Run() == nil })
	run("psql", append(login, "-q", "-c", "CREATE ROLE bob LOGIN PASSWORD '"+postgresqlStore.login("", "").password+"'", "-c", "CREATE DATABASE orders OWNER bob")...)
	var rows []string
	for n := range 70 {
		rows = append(rows, fmt.Sprintf("(%d, '%s')", n, item(n)))
	}
	run("psql", append(login, "-q", "-d", "orders", "-c", "CREATE TABLE items (n INT PRIMARY KEY, v VARCHAR(80))",
		"-c", "INSERT INTO items VALUES "+strings.Join(rows, ","), "-c", "ALTER TABLE items OWNER TO bob")...)
	run("pg_basebackup", append(login, "-D", dir+"/tars", "-Ft", "-z", "--checkpoint=fast")...)
	return dir + "/tars"
}
