package gatewaytest_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// testPorts connects to an instance from addresses that may and from others: to these it is as if there was nothing.
func testPorts(t *testing.T, s *stage) {
	requireFirewall(t, s.machine.table+"_try")
	_, _, address := s.create(t, redisStore, `,"access":{"is_public":false,"allowed_cidrs":["127.0.5.0/24","127.0.6.1"]}`)
	for _, try := range []struct {
		from string
		may  bool
	}{
		{"127.0.5.1", true}, {"127.0.5.254", true}, {"127.0.6.1", true}, {address, true},
		{"127.0.6.2", false}, {"127.0.4.255", false}, {"127.0.0.1", false},
	} {
		if err := connectFrom(try.from, address+":6379"); (err == nil) != try.may {
			t.Errorf("from %s: %v; it may: %v", try.from, err, try.may)
		}
	}
	_, _, open := s.create(t, redisStore, "")
	if err := connectFrom("127.0.6.2", open+":6379"); err != nil {
		t.Errorf("to an instance without allowed_cidrs: %v", err)
	}
	// Another port is shut to everybody but the server itself, even if somebody listens there.
	l, err := net.Listen("tcp", open+":7777")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := connectFrom("127.0.6.2", l.Addr().String()); !timedOut(err) {
		t.Errorf("to a port that is not of the datastore: %v, want no answer", err)
	}
	if err := connectFrom(open, l.Addr().String()); err != nil {
		t.Errorf("from the instance to itself: %v", err)
	}
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
