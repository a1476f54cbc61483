package gatewaytest_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// testHostile is a tenant with PostgreSQL's superuser, who runs programs with COPY, as anybody may who has asked for root. Beside his
// instance there is another's, on the same host. What he tries was walked to its end when instances were plain processes.
func testHostile(t *testing.T, s *stage) {
	if !s.machine.walls {
		t.Skip("NOT TESTED: without root there are no sandboxes")
	}
	_, victim, there := s.create(t, postgresqlStore, postgresqlStore.tenantPart())
	_, own, here := s.create(t, postgresqlStore, postgresqlStore.tenantPart())
	h := hostile{t, s.root(t, own, here)}
	guest := s.machine.guests()[own]
	const server = "/var/lib/postgresql"

	for name, attack := range map[string]string{
		"C3: another's files, by the path on the host": "cat " + s.machine.path("host") + "/instances/" + victim + "/state.json && echo took",
		"C3: the gateway's key":                        "cat " + s.machine.path("gateway") + "/keys && echo took",
		"C4: etcd, at the socket":                      "test -e " + strings.TrimPrefix(s.etcd, "unix://") + " && echo took",
		"C4: etcd, at its usual port":                  h.connects("127.0.0.1", "2379"),
		"C4: the gateway, at its own address":          h.connects(hostOf(s.url), "8779"),
		"H1: another's port":                           h.connects(there, "5432"),
		"H12: the host's loopback":                     h.connects("127.0.0.1", "8779"),
		"H2: another's processes":                      "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o '" + victim[:1] + "[" + victim[1:2] + "]" + victim[2:] + "' && echo took",
		"H3: a program that makes its caller somebody": "cp /usr/bin/id /tmp/x && chmod u+s /tmp/x && find / -xdev -perm -4000 -writable -not -user $(id -u) 2>/dev/null | grep . && echo took",
		"the guest's credential":                       "cat /var/lib/coffer-guest/agent/identity.json && echo took",
		"the guest's configuration":                    "cat /opt/coffer/etc/guest.json && echo took",
		"to trace the guest":                           "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -o coffer-guest && echo took",
		"to write where the system is":                 "touch /usr/x /etc/x /opt/coffer/guests/x && echo took",
		"a mount":                                      "unshare -rm true && echo took",
		"a device":                                     "mknod /tmp/d b 7 0 && echo took",
		"the kernel's settings":                        "echo 1 >/proc/sys/kernel/panic && echo took",
	} {
		if got := h.run(attack); strings.Contains(got, "took") {
			t.Errorf("%s: %s", name, got)
		}
	}

	// C1: the server's socket is a link to the other's, while the guest is asked for another password of root.
	h.run(fmt.Sprintf("cd %s && mv .s.PGSQL.5432 aside && ln -s %s .s.PGSQL.5432", server,
		filepath.Join(s.machine.path("host"), "instances", victim, "root", server, ".s.PGSQL.5432")))
	a := s.member.Do(t, http.MethodPost, gatewaytest.Instance(own)+"/root", "{}")
	if a.Status == http.StatusOK {
		t.Errorf("C1: root was enabled through another's socket: %s", a.Body)
	}
	h.run("cd " + server + " && rm .s.PGSQL.5432 && mv aside .s.PGSQL.5432")
	if numbers, err := postgresqlStore.write(t.Context(), postgresqlStore.login(there, ""), 0, 10); numbers != 10 {
		t.Errorf("C1: the other's database: %v", err)
	}

	// Who kills all that he can kills his own server. The guest stays, and brings it back.
	_, _ = h.db.ExecContext(t.Context(), `COPY (SELECT 1) TO PROGRAM 'kill -9 -1'`)
	until.True(t, lifeTimeout, "the server is back", func() bool {
		_, err := postgresqlStore.write(t.Context(), postgresqlStore.login(here, ""), 0, 1)
		return err == nil || strings.Contains(err.Error(), "duplicate")
	})
	if now := s.machine.guests()[own]; now != guest {
		t.Errorf("the guest was %d and is %d", guest, now)
	}

	// H3: what he leaves ends with his instance.
	h = hostile{t, s.root(t, own, here)}
	h.run("setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' >/dev/null 2>&1 &")
	s.delete(t, s.member, own)
	for _, pid := range s.machine.processes() {
		if instanceOf(pid) == own {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			t.Errorf("H3: process %d is left: %q", pid, command)
		}
	}
	if numbers, err := postgresqlStore.read(t.Context(), postgresqlStore.login(there, "")); err != nil || len(numbers) != 10 {
		t.Errorf("the other has %d rows, %v; want 10", len(numbers), err)
	}
}

// hostile runs programs in a PostgreSQL.
type hostile struct {
	t  *testing.T
	db *sql.DB
}

// root opens a PostgreSQL as its superuser.
func (s *stage) root(t *testing.T, id, address string) *sql.DB {
	t.Helper()
	var made gatewaytest.Answer
	until.True(t, lifeTimeout, "root can be enabled", func() bool { // the last word of a guest may be that the server has crashed
		made = s.member.Do(t, http.MethodPost, gatewaytest.Instance(id)+"/root", "{}")
		return made.Status == http.StatusOK
	})
	password := made.Text("user", "password")
	s.secrets.know("root's password of a hostile tenant", password)
	db, err := postgresqlStore.sql(login{address, made.Text("user", "name"), password, "orders"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// run returns what a shell command printed.
func (h hostile) run(command string) string {
	h.t.Helper()
	quoted := strings.ReplaceAll("timeout 5 sh -c "+shellQuoted(command)+" 2>&1; true", "'", "''")
	for _, statement := range []string{"DROP TABLE IF EXISTS pg_temp.said", "CREATE TEMP TABLE said (n serial, line text)", "COPY said (line) FROM PROGRAM '" + quoted + "' (DELIMITER E'\\x01')"} {
		if _, err := h.db.ExecContext(h.t.Context(), statement); err != nil {
			h.t.Fatalf("%s: %v", command, err)
		}
	}
	var said sql.NullString
	if err := h.db.QueryRowContext(h.t.Context(), "SELECT string_agg(line, E'\\n' ORDER BY n) FROM said").Scan(&said); err != nil {
		h.t.Fatal(err)
	}
	return said.String
}

// connects is a command that says "took" when somebody answers.
func (h hostile) connects(host, port string) string {
	return fmt.Sprintf("timeout 2 bash -c '</dev/tcp/%s/%s' && echo took", host, port)
}

func shellQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func hostOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, ":")
	return host
}
