package deployments

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// operate is what operators and tenants do: gateways over TLS with an etcd over TLS on one machine, hosts on two that no gateway can
// reach; an instance and its replica on different hosts, open to one address only; new packages while a client writes.
func operate(t *testing.T, s *stage) {
	begun := time.Now()
	lap := func(what string) { t.Logf("%6.1f s: %s", time.Since(begun).Seconds(), what) }
	outside, one, two := s.boot(t, "gateways", "outside"), s.boot(t, "host1", "inside"), s.boot(t, "host2", "inside")
	g := outside("10.87.0.2/24")
	hosts := []*machine{one("10.88.0.11/16", "10.88.0.1"), two("10.88.0.12/16", "10.88.0.1")}
	lap("three machines have booted")

	g.must(t, "dpkg -i /debs/1/coffer_*.deb /debs/1/coffer-gateway_*.deb")
	g.play(t, "etcd.sh")
	g.play(t, "gateways.sh", "10.87.0.2")
	until.True(t, patience, "a gateway has made the first password", func() bool {
		_, err := g.run(t.Context(), "test -s /var/lib/coffer/first-password")
		return err == nil
	})
	g.must(t, "systemctl start coffer-gateway-2")
	as := []string{"OS_AUTH_URL=https://10.87.0.2:8779/identity/v3", "OS_USERNAME=admin", "OS_PROJECT_NAME=admin", "OS_CACERT=/var/lib/coffer/ca.pem",
		"OS_PASSWORD=" + g.must(t, "cat /var/lib/coffer/first-password")}
	must := func(line string) string {
		t.Helper()
		return g.must(t, "coffer "+line, as...)
	}
	for _, port := range []string{"8779", "8781"} {
		until.True(t, patience, "the gateway at "+port+" serves", func() bool { return ready("https://10.87.0.2:" + port + "/readyz") })
		as[0] = "OS_AUTH_URL=https://10.87.0.2:" + port + "/identity/v3"
		must("whoami")
	}
	lap("etcd and gateways serve")
	for i, m := range hosts {
		m.must(t, "dpkg -i /debs/1/coffer-host_*.deb /debs/1/coffer-guest-postgresql_*.deb")
		var enrolment struct{ Token, CA string }
		decode(t, must("enrolment create --output json"), &enrolment)
		const ids = 0x50000000 // no other test gives these: it sees the processes of machines, and takes them for its own
		m.play(t, "host.sh", "https://10.87.0.2:8779,https://10.87.0.2:8781", enrolment.CA, enrolment.Token,
			fmt.Sprintf("10.88.%d.0/24", i+1), fmt.Sprintf("%d-%d", ids+i<<20, ids+(i+1)<<20-1))
	}
	until.True(t, patience, "both hosts poll", func() bool { return strings.Count(must("host list"), " connected ") == 2 })
	if said, err := g.run(t.Context(), "ip route get 10.88.0.11"); err == nil {
		t.Errorf("gateways reach hosts: %s", said)
	}
	lap("hosts poll")

	const password = "clerk-of-the-shop"
	source := address(t, must("instance create orders --datastore postgresql --flavor tiny --size 1 --database shop --user clerk --password-stdin "+
		"--allowed-cidr 10.88.0.1/32 --wait --output json <<-PASSWORD\n"+password+"\nPASSWORD"))
	replica := address(t, must("instance create copy --replica-of orders --wait --output json"))
	if source[:len("10.88.1.")] == replica[:len("10.88.1.")] {
		t.Errorf("source %s and replica %s are on one host", source, replica)
	}
	for _, at := range []string{source, replica} {
		if !reaches("10.88.0.1", at) || reaches("10.88.0.9", at) {
			t.Errorf("%s: who may reach it does not, or who may not does", at)
		}
	}
	lap("source and replica")
	w := startWriter(t, fmt.Sprintf("postgres://clerk:%s@%s:5432/shop", password, source))
	follower := connect(t, fmt.Sprintf("postgres://clerk:%s@%s:5432/shop", password, replica))
	w.catchUp(t, follower)

	// New packages, while the client writes.
	before := w.rows.Load()
	for _, m := range hosts {
		m.must(t, "dpkg -i /debs/2/coffer-host_*.deb /debs/2/coffer-guest-postgresql_*.deb")
	}
	for do, port := range map[string]string{"dpkg -i /debs/2/coffer_*.deb /debs/2/coffer-gateway_*.deb": "8779", "systemctl restart coffer-gateway-2": "8781"} {
		g.must(t, do)
		until.True(t, patience, "the gateway at "+port+" serves again", func() bool { return ready("https://10.87.0.2:" + port + "/readyz") })
	}
	for _, m := range hosts {
		until.True(t, patience, "the guest of "+m.name+" is the new package's", func() bool {
			said, err := m.run(t.Context(), "readlink /proc/[0-9]*/exe | grep -F /$(sha256sum /usr/lib/coffer/guests/postgresql-guest | cut -d' ' -f1)/postgresql-guest")
			return err == nil && len(strings.Fields(said)) == 1
		})
	}
	must("database create orders later")
	w.catchUp(t, follower)
	if during := w.rows.Load() - before; during < 10 {
		t.Errorf("the client wrote %d rows meanwhile", during)
	}
	w.stop(t)
	lap("new packages of everything")

	must("backup create orders nightly --wait")
	must("instance promote copy --wait")
	if _, err := follower.ExecContext(t.Context(), "INSERT INTO rows (n) VALUES (-1)"); err != nil {
		t.Errorf("the promoted one: %v", err)
	}
	lap("backup and promotion")
	must("instance delete orders --wait")
	must("instance delete copy --wait")
	for _, m := range hosts {
		left := m.must(t, "find /run/netns /var/lib/coffer-host/instances /sys/fs/cgroup/*/coffer -mindepth 1 -maxdepth 1 2>/dev/null || true; nft list tables; grep /var/lib/coffer-host/ /proc/mounts || true")
		if left != "" {
			t.Errorf("left on %s:\n%s", m.name, left)
		}
	}
	lap("all deleted")
}

// address is where an instance is had, as the command line says in JSON.
func address(t *testing.T, text string) string {
	t.Helper()
	var instance struct {
		Addresses []struct{ Address string }
	}
	decode(t, text, &instance)
	if len(instance.Addresses) != 1 {
		t.Fatalf("addresses: %s", text)
	}
	return instance.Addresses[0].Address
}

// reaches reports whether a client with that address gets through to a server.
func reaches(from, server string) bool {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 2 * time.Second}
	conn, err := dialer.Dial("tcp", net.JoinHostPort(server, "5432"))
	return err == nil && conn.Close() == nil
}

// connect opens a connection that stays the same.
func connect(t *testing.T, url string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// writer is a client that writes one row after the other, over one connection.
type writer struct {
	rows  atomic.Int64
	end   context.CancelFunc
	ended chan error
}

func startWriter(t *testing.T, url string) *writer {
	t.Helper()
	conn := connect(t, url)
	if _, err := conn.ExecContext(t.Context(), "CREATE TABLE rows (n bigint)"); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	w := &writer{end: end, ended: make(chan error, 1)}
	go func() {
		for ctx.Err() == nil {
			if _, err := conn.ExecContext(context.Background(), "INSERT INTO rows (n) VALUES ($1)", w.rows.Load()); err != nil {
				w.ended <- err
				return
			}
			w.rows.Add(1)
		}
		w.ended <- nil
	}()
	return w
}

// catchUp waits until a replica has what was written by now.
func (w *writer) catchUp(t *testing.T, replica *sql.Conn) {
	t.Helper()
	want := w.rows.Load()
	var n int64
	var err error
	if !until.Holds(patience, func() bool {
		err = replica.QueryRowContext(t.Context(), "SELECT count(*) FROM rows").Scan(&n) // there is no table at first
		return err == nil && n >= want
	}) {
		t.Fatalf("the replica has %d rows of %d: %v", n, want, err)
	}
}

// stop ends the client, which must have had no error.
func (w *writer) stop(t *testing.T) {
	t.Helper()
	w.end()
	if err := <-w.ended; err != nil {
		t.Errorf("after %d rows the client got: %v", w.rows.Load(), err)
	}
}

// ready reports whether a gateway says that requests may be sent to it.
func ready(url string) bool {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return false
	}
	return r.Body.Close() == nil && r.StatusCode == http.StatusOK
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}
