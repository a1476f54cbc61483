package gatewaytest_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// testPorts connects to instances from addresses of this machine that may, and from others: to these it is as if there was
// nothing.
func testPorts(t *testing.T, s *stage) {
	requireFirewall(t, s.machine.table+"_try")
	from := func(n int) string { return fmt.Sprintf("%s.%d", s.machine.clients, n) }
	for _, n := range []int{1, 14, 17, 33, 34} {
		run := func(do string) error { return exec.Command("ip", "address", do, from(n)+"/32", "dev", "lo").Run() }
		if err := run("add"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = run("delete") })
	}
	_, _, listed := s.create(t, redisStore, fmt.Sprintf(`,"access":{"is_public":false,"allowed_cidrs":["%s/28","%s"]}`, from(0), from(33)))
	for n, may := range map[int]bool{1: true, 14: true, 33: true, 34: false, 17: false} {
		if err := connectFrom(from(n), listed+":6379"); (err == nil) != may {
			t.Errorf("from %s: %v; it may: %v", from(n), err, may)
		}
	}
	_, id, open := s.create(t, redisStore, "")
	if err := connectFrom(from(34), open+":6379"); err != nil {
		t.Errorf("to an instance without allowed_cidrs: %v", err)
	}
	if err := connectFrom(from(34), open+":7777"); !timedOut(err) {
		t.Errorf("to a port that is not of the datastore: %v, want no answer", err)
	}
	// A list that becomes empty is one that nobody is in.
	s.member.Want(t, 202, http.MethodPut, gatewaytest.Instance(id), `{"instance":{"access":{"is_public":false,"allowed_cidrs":[]}}}`)
	until.True(t, lifeTimeout, "nobody is let in any more", func() bool { return timedOut(connectFrom(from(34), open+":6379")) })
}

func connectFrom(from, to string) error {
	// A first SYN that is lost is sent again after 1 s.
	d := net.Dialer{Timeout: 1500 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		return err
	}
	return conn.Close()
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// requireFirewall ends the test where the kernel, or not being root, permits no rules. Where the tests have to be
// complete and are root's, that is a failure.
func requireFirewall(t *testing.T, table string) {
	t.Helper()
	out, err := exec.Command("nft", "add", "table", "inet", table).CombinedOutput()
	if err == nil {
		_ = exec.Command("nft", "delete", "table", "inet", table).Run()
		return
	}
	if os.Geteuid() == 0 && (os.Getenv("CI") != "" || os.Getenv("COFFER_REQUIRE_ENGINES") != "") {
		t.Fatalf("nftables: %v\n%s", err, out)
	}
	t.Skipf("NOT TESTED: nftables are not permitted here: %v\n%s", err, out)
}
