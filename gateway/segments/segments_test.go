package segments

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/gateway/blobstore"
)

// depot is a gateway's segments over a directory, behind a real server. The agent is what the Authorization header says.
type depot struct {
	Server
	*testing.T
	dir string
	url string
	log bytes.Buffer
	mu  sync.Mutex
}

func (d *depot) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(p)
}

func newDepot(t *testing.T) *depot {
	t.Helper()
	d := &depot{T: t, dir: t.TempDir()}
	blobs, err := blobstore.OpenDir(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	prefix := func(_ context.Context, agentID, id string) (Place, error) {
		switch id {
		case "missing":
			return Place{}, ErrNone
		case "done":
			return Place{}, fmt.Errorf("backup %s: %w", id, ErrNotNow)
		case "broken":
			return Place{}, errors.New("etcdserver: the password is hunter2")
		}
		return Place{Prefix: agentID + "/p/" + id, Most: -1, Size: agentpoll.MaxSegment, Index: agentpoll.MaxSegment}, nil
	}
	numbered := func(ctx context.Context, agentID, id string, _ int64) (Place, error) { return prefix(ctx, agentID, id) }
	d.Server = Server{
		Blobs: blobs, Log: slog.New(slog.NewTextHandler(d, &slog.HandlerOptions{Level: slog.LevelDebug})),
		MayWrite: numbered, MayRead: prefix, MayWriteLog: numbered, MayDiscardLog: prefix, Refused: func(string) {},
		Authenticate: func(r *http.Request) (string, error) {
			switch agent := r.Header.Get("Authorization"); agent {
			case "":
				return "", server.ErrUnauthorized
			case "locked":
				return "", server.ErrLocked
			default:
				return agent, nil
			}
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.url = "http://" + l.Addr().String()
	srv := server.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.Serve(w, r) {
			http.Error(w, "somebody else's", http.StatusTeapot)
		}
	}))
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { _ = srv.Close(); served.Wait(); _ = blobs.Close() })
	return d
}

// call makes a request with change's changes. It follows no redirect.
func (d *depot) call(method, path string, body []byte, change ...func(*http.Request)) (*http.Response, []byte) {
	d.Helper()
	req, err := http.NewRequestWithContext(d.Context(), method, d.url+path, bytes.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	s := sha256.Sum256(body)
	req.Header.Set("Authorization", "agent")
	req.Header.Set("Expect", "100-continue") // as agents do
	req.Header.Set(agentpoll.HeaderSHA256, hex.EncodeToString(s[:]))
	for _, f := range change {
		f(req)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		d.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		d.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, got
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func TestSegmentsRoundTrip(t *testing.T) {
	d := newDepot(t)
	for n, body := range [][]byte{{}, randomBytes(8 << 20), randomBytes(100)} {
		path := fmt.Sprintf("/agent/v1/backups/b1/segments/%d", n)
		for range 2 {
			if resp, text := d.call(http.MethodPut, path, body); resp.StatusCode != http.StatusNoContent {
				t.Errorf("PUT %d: %s %s", n, resp.Status, text)
			}
		}
		if resp, got := d.call(http.MethodGet, path, nil); resp.StatusCode != http.StatusOK || !bytes.Equal(got, body) || resp.ContentLength != int64(len(body)) {
			t.Errorf("GET %d: %s, %d bytes", n, resp.Status, len(got))
		}
	}
	if _, err := os.Stat(filepath.Join(d.dir, "agent/p/b1/00000001")); err != nil {
		t.Error(err)
	}
	for n := range 3 {
		if resp, text := d.call(http.MethodPut, fmt.Sprintf("/agent/v1/logs/slow_query/chunks/%d", n), []byte("line\n")); resp.StatusCode != http.StatusNoContent {
			t.Errorf("chunk %d: %s %s", n, resp.Status, text)
		}
	}
	if resp, _ := d.call(http.MethodDelete, "/agent/v1/logs/slow_query", nil); resp.StatusCode != http.StatusNoContent {
		t.Error(resp.Status)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "agent/p/slow_query")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is still there: %v", err)
	}
}

func TestSegmentsAreRefused(t *testing.T) {
	d := newDepot(t)
	as := func(agent string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", agent) }
	}
	for name, c := range map[string]struct {
		method, path string
		size         int
		change       func(*http.Request)
		status       int
		kind         agentpoll.ErrorKind
	}{
		"nobody":      {"PUT", "/agent/v1/backups/b/segments/1", 10, as(""), 401, "unauthorized"},
		"locked":      {"PUT", "/agent/v1/backups/b/segments/1", 10, as("locked"), 403, "locked"},
		"no backup":   {"PUT", "/agent/v1/backups/missing/segments/1", 9 << 20, nil, 404, agentpoll.NotFound},
		"no segment":  {"GET", "/agent/v1/backups/b/segments/1", 0, nil, 404, agentpoll.NotFound},
		"not now":     {"PUT", "/agent/v1/backups/done/segments/1", 10, nil, 409, agentpoll.Conflict},
		"etcd":        {"PUT", "/agent/v1/backups/broken/segments/1", 10, nil, 503, "unavailable"},
		"no length":   {"PUT", "/agent/v1/backups/b/segments/1", 10, func(r *http.Request) { r.ContentLength = -1 }, 411, agentpoll.Invalid},
		"too large":   {"PUT", "/agent/v1/backups/b/segments/1", agentpoll.MaxSegment + 1, nil, 413, "too_large"},
		"no sum":      {"PUT", "/agent/v1/backups/b/segments/1", 10, func(r *http.Request) { r.Header.Del(agentpoll.HeaderSHA256) }, 400, agentpoll.Invalid},
		"damaged":     {"PUT", "/agent/v1/backups/b/segments/1", 9 << 20, func(r *http.Request) { r.Header.Set(agentpoll.HeaderSHA256, strings.Repeat("0", 64)) }, 422, agentpoll.Invalid},
		"method":      {"POST", "/agent/v1/backups/b/segments/1", 10, nil, 405, agentpoll.Unsupported},
		"log method":  {"GET", "/agent/v1/logs/b/chunks/1", 0, nil, 405, agentpoll.Unsupported},
		"all of it":   {"DELETE", "/agent/v1/backups/b", 0, nil, 404, agentpoll.NotFound},
		"number":      {"PUT", "/agent/v1/backups/b/segments/01", 10, nil, 404, agentpoll.NotFound},
		"negative":    {"PUT", "/agent/v1/backups/b/segments/-1", 10, nil, 404, agentpoll.NotFound},
		"huge number": {"PUT", "/agent/v1/backups/b/segments/100000000", 10, nil, 404, agentpoll.NotFound},
		"dots":        {"PUT", "/agent/v1/backups/../segments/1", 10, nil, 503, "unavailable"},
		"slashes":     {"GET", "/agent/v1/backups/a%2Fb/segments/1", 0, nil, 404, agentpoll.NotFound},
		"two at once": {"GET", "/agent/v1/backups//agent/v1/logs/x", 0, nil, 404, agentpoll.NotFound},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		resp, text := d.call(c.method, c.path, make([]byte, c.size), change)
		var reply agentpoll.ErrorReply
		if err := json.Unmarshal(text, &reply); err != nil || resp.StatusCode != c.status || reply.Error.Kind != c.kind || reply.Error.Message == "" {
			t.Errorf("%s: %s %s", name, resp.Status, text)
		}
		if strings.Contains(string(text), "hunter2") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if resp, _ := d.call(http.MethodGet, "/agent/v1/backups/b/segments/1", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("something of what was refused is there: %s", resp.Status)
	}
	if resp, _ := d.call(http.MethodGet, "/agent/v1/poll", nil); resp.StatusCode != http.StatusTeapot {
		t.Errorf("what is no segment was served: %s", resp.Status)
	}
	d.Blobs = nil
	if resp, text := d.call(http.MethodGet, "/agent/v1/backups/b/segments/1", nil); resp.StatusCode != http.StatusNotImplemented || !strings.Contains(string(text), "-backup-dir") {
		t.Errorf("without a store: %s %s", resp.Status, text)
	}
}

// An upload that is cut leaves nothing, and the one before it as it was.
func TestSegmentThatIsCut(t *testing.T) {
	d := newDepot(t)
	old := randomBytes(1000)
	d.call(http.MethodPut, "/agent/v1/backups/b/segments/1", old)
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT /agent/v1/backups/b/segments/1 HTTP/1.1\r\nHost: x\r\nAuthorization: agent\r\nContent-Length: 5000\r\n%s: %064d\r\n\r\n", agentpoll.HeaderSHA256, 0)
	_, _ = conn.Write(make([]byte, 3000))
	_ = conn.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%+v, %v", resp, err)
	}
	_ = conn.Close()
	if _, got := d.call(http.MethodGet, "/agent/v1/backups/b/segments/1", nil); !bytes.Equal(got, old) {
		t.Errorf("%d bytes are there, want the old ones", len(got))
	}
}

// signed is a store that others can be sent to.
type signed struct{ blobstore.Store }

func (signed) PresignPut(_ context.Context, name string, size int64) (string, error) {
	return fmt.Sprintf("https://s3.example.com/%s?length=%d&signature=secret", name, size), nil
}

func (signed) PresignGet(_ context.Context, name string) (string, error) {
	return "https://s3.example.com/" + name + "?signature=secret", nil
}

func TestSegmentsAtASignedURL(t *testing.T) {
	d := newDepot(t)
	d.Blobs, d.Presign = signed{d.Blobs}, true
	for method, want := range map[string]string{
		http.MethodPut: "https://s3.example.com/agent/p/b/00000007?length=1000&signature=secret",
		http.MethodGet: "https://s3.example.com/agent/p/b/00000007?signature=secret",
	} {
		body := make([]byte, 1000)
		if method == http.MethodGet {
			body = nil
		}
		resp, _ := d.call(method, "/agent/v1/backups/b/segments/7", body)
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusTemporaryRedirect || got != want {
			t.Errorf("%s: %s to %s", method, resp.Status, got)
		}
	}
	if resp, _ := d.call(http.MethodPut, "/agent/v1/backups/missing/segments/7", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a backup that is not there: %s", resp.Status)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if log := d.log.String(); strings.Contains(log, "signature") || !strings.Contains(log, "agent_id=agent") {
		t.Errorf("the log: %s", log)
	}
}
