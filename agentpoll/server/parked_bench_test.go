package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

const parkedPolls = 5000

// BenchmarkParkedPoll prints the resident memory of a server process for each poll that it holds, after churn, as the
// ratio to what net/http needs for a handler that blocks, over plain HTTP and over TLS. Each server is a process of its
// own: this test binary again, see TestParkingServer.
func BenchmarkParkedPoll(b *testing.B) {
	if testing.Short() || runtime.GOOS != "linux" {
		b.Skip("parks thousands of polls and reads /proc")
	}
	for _, scheme := range []string{"http", "https"} {
		b.Run(scheme, func(b *testing.B) {
			for b.Loop() {
				ours, wakeAll := measureParked(b, "coffer", scheme)
				theirs, theirWakeAll := measureParked(b, "blocking", scheme)
				b.ReportMetric(ours, "B/poll")
				b.ReportMetric(theirs, "net/http-B/poll")
				b.ReportMetric(ours/theirs, "memory-ratio")
				b.ReportMetric(float64(wakeAll)/float64(theirWakeAll), "wake-all-ratio")
			}
		})
	}
}

// measureParked returns the bytes for each poll after churn, and how long the last wake of all took.
func measureParked(b *testing.B, kind, scheme string) (bytes float64, wakeAll time.Duration) {
	p := startParkingServer(b, kind, scheme)
	empty := p.resident()
	peers := make([]*parkedPeer, parkedPolls)
	p.all(func(i int) {
		peers[i] = p.dial(i)
		peers[i].poll()
	})
	p.command("parked " + strconv.Itoa(parkedPolls))
	fresh := p.resident()
	for i := range 2000 {
		p.command("wake " + strconv.Itoa(i))
		peers[i].told()
		peers[i].poll()
	}
	for range 3 {
		p.command("parked " + strconv.Itoa(parkedPolls))
		begin := time.Now()
		p.command("wake all")
		p.all(func(i int) {
			peers[i].told()
			peers[i].poll()
		})
		wakeAll = time.Since(begin)
	}
	p.command("parked " + strconv.Itoa(parkedPolls))
	churned := p.resident()
	each := func(rss int) float64 { return float64(rss-empty) / parkedPolls }
	b.Logf("%s over %s: %.0f bytes a poll fresh, %.0f churned; all woken in %s", kind, scheme, each(fresh), each(churned), wakeAll)
	return each(churned), wakeAll
}

// parkingServer is the process that is measured.
type parkingServer struct {
	b       *testing.B
	cmd     *exec.Cmd
	in      io.Writer
	out     *bufio.Reader
	address string
	scheme  string
}

func startParkingServer(b *testing.B, kind, scheme string) *parkingServer {
	p := &parkingServer{b: b, cmd: exec.Command(os.Args[0], "-test.run=^TestParkingServer$"), scheme: scheme}
	p.cmd.Env = append(os.Environ(), "COFFER_PARKING_SERVER="+kind+" "+scheme)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = p.cmd.Wait()
	})
	p.in, p.out = in, bufio.NewReader(out)
	p.address = p.line()
	return p
}

func (p *parkingServer) line() string {
	s, err := p.out.ReadString('\n')
	if err != nil {
		p.b.Fatal("the server process: ", err)
	}
	return strings.TrimSpace(s)
}

// command is done when the server answers with a line.
func (p *parkingServer) command(c string) {
	if _, err := fmt.Fprintln(p.in, c); err != nil {
		p.b.Fatal(err)
	}
	p.line()
}

// resident is the process's resident memory in bytes.
func (p *parkingServer) resident() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.b.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	kb, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
	if err != nil {
		p.b.Fatal(err)
	}
	return kb << 10
}

// all calls f for each peer, 50 at a time.
func (p *parkingServer) all(f func(i int)) {
	var wg sync.WaitGroup
	for worker := range 50 {
		wg.Go(func() {
			for i := worker; i < parkedPolls; i += 50 {
				f(i)
			}
		})
	}
	wg.Wait()
	if p.b.Failed() {
		p.b.FailNow()
	}
}

// parkedPeer is an agent without an agent's memory.
type parkedPeer struct {
	b    *testing.B
	conn net.Conn
	in   *bufio.Reader
	who  agentpoll.Credential
}

func (p *parkingServer) dial(i int) *parkedPeer {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}}
	conn, err := dialer.Dial("tcp", p.address)
	if err == nil && p.scheme == "https" {
		c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		conn, err = c, c.Handshake()
	}
	if err != nil {
		p.b.Error(err)
		return nil
	}
	p.b.Cleanup(func() { _ = conn.Close() })
	return &parkedPeer{p.b, conn, bufio.NewReaderSize(conn, 512), parkedCredential(i)}
}

func parkedCredential(i int) agentpoll.Credential {
	return agentpoll.Credential{AgentID: fmt.Sprintf("0198c0de-0000-7000-8000-%012x", i), Secret: strings.Repeat("s", 43)}
}

func (p *parkedPeer) poll() {
	if _, err := io.WriteString(p.conn, post(p.who, agentpoll.PathPoll, `{"cursor":{"epoch":"e","revision":1}}`)); err != nil {
		p.b.Error(err)
	}
}

func (p *parkedPeer) told() {
	res, err := http.ReadResponse(p.in, nil)
	if err != nil {
		p.b.Error(err)
		return
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		p.b.Errorf("%d %v", res.StatusCode, err)
	}
}

// listenForParking is the listener of a measured server.
func listenForParking(t testing.TB, scheme string) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if scheme == "http" {
		return l
	}
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	return tls.NewListener(l, &tls.Config{Certificates: certified.TLS.Certificates})
}
