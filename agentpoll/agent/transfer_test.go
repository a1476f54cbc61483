package agent

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

const segmentPath = "/agent/v1/backups/b/segments/1"

// atSegments is a gateway that serves segments with f, and an agent that is enrolled there.
func atSegments(t *testing.T, f func(w http.ResponseWriter, r *http.Request), change func(*Config)) *Agent {
	t.Helper()
	g := newGateway(t)
	g.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != segmentPath {
			return false
		}
		f(w, r)
		return true
	}
	cfg := g.config(t, methods{})
	enrolled := make(chan struct{})
	cfg.OnEnrolled = func(agentpoll.EnrollReply) error { close(enrolled); return nil }
	if change != nil {
		change(&cfg)
	}
	a, _ := start(t, cfg)
	<-enrolled
	return a
}

func TestTransferEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := atSegments(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil)
		gone, begun := errors.New("cancelled by the operator"), time.Now()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(gone) })
		if err := a.PutSegment(ctx, "b", 1, []byte("body")); !errors.Is(err, gone) || time.Since(begun) != 5*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		ctx, cancelBackoff := context.WithTimeout(t.Context(), 100*time.Hour)
		defer cancelBackoff()
		if _, err := a.GetSegment(ctx, "b", 1); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), errStalled.Error()) {
			t.Errorf("after a hundred hours: %v", err)
		}
	})
}

func TestTransferThatStallsIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		a := atSegments(t, func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				<-r.Context().Done()
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}, nil)
		begun := time.Now()
		if err := a.PutSegment(t.Context(), "b", 1, []byte("body")); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < stall || took > stall+10*time.Second || calls.Load() != 2 {
			t.Errorf("%d calls in %s", calls.Load(), took)
		}
	})
}

// slowLine takes 4 KiB a second.
type slowLine struct{ net.Conn }

func (c slowLine) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		time.Sleep(time.Second) // of the bubble
		var part int
		part, err = c.Conn.Write(p[:min(len(p), 4<<10)])
		n, p = n+part, p[part:]
	}
	return n, err
}

func TestSlowLineIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, size atomic.Int32
		a := atSegments(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			calls.Add(1)
			size.Store(int32(len(body)))
			w.WriteHeader(http.StatusNoContent)
		}, func(cfg *Config) {
			dial := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				return slowLine{conn}, err
			}
		})
		begun := time.Now()
		err := a.PutSegment(t.Context(), "b", 1, make([]byte, 8<<20))
		if took := time.Since(begun); err != nil || calls.Load() != 1 || size.Load() != 8<<20 || took < 10*stall {
			t.Errorf("%d calls, %d bytes in %s: %v", calls.Load(), size.Load(), took, err)
		}
	})
}

// store is where pre-signed URLs lead: it takes and gives one blob, and fails first.
type store struct {
	*httptest.Server
	failures atomic.Int32
	cut      atomic.Int32
	blob     atomic.Pointer[[]byte]
	wrong    atomic.Pointer[string]
}

func newStore(t *testing.T) *store {
	s := &store{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	complain := func(text string) { s.wrong.Store(&text) }
	if r.Header.Get("Authorization") != "" || r.Header.Get(agentpoll.HeaderSHA256) != "" {
		complain("the store got what is the gateway's")
	}
	if s.failures.Add(-1) >= 0 {
		_, _ = io.CopyN(io.Discard, r.Body, 100<<10) // and not the rest
		http.Error(w, "<Error>expired</Error>", http.StatusForbidden)
		return
	}
	blob := s.blob.Load()
	switch {
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		digest := md5.Sum(body)
		if err != nil || r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(digest[:]) {
			complain("what came is not what Content-MD5 says")
		}
		s.blob.Store(&body)
	case blob == nil:
		http.NotFound(w, r)
	case s.cut.Add(-1) >= 0:
		w.Header().Set("Content-Length", "1000000000")
		_, _ = w.Write((*blob)[:1])
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(*blob)))
		_, _ = w.Write(*blob)
	}
}

func TestTransferFollowsASignedURL(t *testing.T) {
	s := newStore(t)
	var asked atomic.Int32
	a := atSegments(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, s.URL+"/bucket/b/1?signature=secret", http.StatusTemporaryRedirect)
	}, nil)
	if _, err := a.GetSegment(t.Context(), "b", 1); kindOf(err) != agentpoll.NotFound {
		t.Errorf("a blob that is not there: %v", err)
	}
	s.failures.Store(2)
	asked.Store(0)
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	want := bytes.Clone(body)
	if err := a.PutSegment(t.Context(), "b", 1, body); err != nil || asked.Load() != 3 {
		t.Errorf("asked the gateway %d times: %v", asked.Load(), err)
	}
	clear(body) // the race detector sees it when somebody reads it still
	s.cut.Store(1)
	asked.Store(0)
	if got, err := a.GetSegment(t.Context(), "b", 1); err != nil || !bytes.Equal(got, want) || asked.Load() != 2 {
		t.Errorf("asked the gateway %d times, %d bytes: %v", asked.Load(), len(got), err)
	}
	if wrong := s.wrong.Load(); wrong != nil {
		t.Error(*wrong)
	}
}

// A store that takes no more ends the transfer within a minute, with the reason.
func TestTransferAtAStoreThatTakesNothing(t *testing.T) {
	for _, c := range []struct {
		status, calls int
		says          string
		kind          agentpoll.ErrorKind
		message       string
	}{
		{507, 1, "<Code>XMinioStorageFull</Code>", agentpoll.Full, agentpoll.StoreFull},
		{403, 1, "<Code>QuotaExceeded</Code>", agentpoll.Full, agentpoll.StoreFull},
		{403, maxDenials, "<Code>AccessDenied</Code>", agentpoll.Unavailable, agentpoll.StoreDenies},
	} {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int32
			a := atSegments(t, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://127.0.0.1/bucket?signature=secret", http.StatusTemporaryRedirect)
			}, nil)
			a.session.client.store.RegisterProtocol("http", answering(func(*http.Request) (*http.Response, error) {
				calls.Add(1)
				return &http.Response{StatusCode: c.status, Body: io.NopCloser(strings.NewReader("<Error>" + c.says + "</Error>"))}, nil
			}))
			begun := time.Now()
			err := a.PutSegment(t.Context(), "b", 1, []byte("body"))
			if took := time.Since(begun); kindOf(err) != c.kind || err.Error() != c.message || int(calls.Load()) != c.calls || took > time.Minute {
				t.Errorf("%d %s: %v after %d calls in %s", c.status, c.says, err, calls.Load(), took)
			}
		})
	}
}

// answering is a transport that knows every answer.
type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransferGoesNowhereElse(t *testing.T) {
	for _, location := range []string{"http://192.0.2.1/x?sig=secret", "ftp://127.0.0.1/x?sig=secret", "https://", "http://a b/?sig=secret", "//192.0.2.1/x"} {
		a := atSegments(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, nil)
		a.session.client.cfg.AllowHTTP = false // as of an agent whose gateways speak https
		err := a.PutSegment(t.Context(), "b", 1, []byte("x"))
		if kindOf(err) != agentpoll.Internal || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", location, err)
		}
	}
}

func TestWhereAGatewayMaySendTheAgent(t *testing.T) {
	for text, want := range map[string][2]bool{ // without and with AllowHTTP
		"https://192.0.2.1/x": {true, true}, "http://127.0.0.1:9000/x": {false, true}, "http://[::1]/x": {false, true},
		"http://192.0.2.1/x": {false, true}, "ftp://127.0.0.1/": {}, "https:///x": {}, "x": {},
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{(Config{}).allowed(u), (Config{AllowHTTP: true}).allowed(u)}; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func kindOf(err error) agentpoll.ErrorKind {
	if e, ok := errors.AsType[*agentpoll.Error](err); ok {
		return e.Kind
	}
	return ""
}
