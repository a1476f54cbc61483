package agent

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

func TestJudge(t *testing.T) {
	for status, want := range map[int]verdict{
		0: again, 200: again, 302: again, 400: never, 401: slower, 403: slower, 404: slower, 408: again, 410: never,
		413: never, 422: never, 425: again, 429: again, 500: again, 502: again, 503: again, 504: again,
	} {
		if got := judge(fmt.Errorf("wrapped: %w", &callError{status: status})); got != want {
			t.Errorf("judge(%d) = %d, want %d", status, got, want)
		}
	}
}

// A fleet that failed together for half an hour must not come back in step: the waits fill the whole of the cap.
func TestJitterAfterTheCap(t *testing.T) {
	waits := make([]time.Duration, 2000)
	for i := range waits {
		b := backoff{failures: 30}
		waits[i] = b.next(&callError{status: 503})
	}
	slices.Sort(waits)
	if first, last := waits[0], waits[len(waits)-1]; first > againCap/50 || last > againCap || last < againCap*49/50 {
		t.Errorf("waits from %s to %s, want them all over %s", first, last, againCap)
	}
	if middle := waits[len(waits)/2]; middle < againCap*2/5 || middle > againCap*3/5 {
		t.Errorf("half of the waits are under %s, want %s", middle, againCap/2)
	}
}

func TestBackoffDoublesAndHeedsRetryAfter(t *testing.T) {
	var b backoff
	for i := range 12 {
		limit := min(againFirst<<i, againCap)
		if wait := b.next(nil); wait <= 0 || wait > limit {
			t.Errorf("wait %d = %s, want up to %s", i, wait, limit)
		}
	}
	if wait := b.next(&callError{status: 401}); wait > slowerFirst {
		t.Errorf("the first 401 waits %s: failures of another kind count", wait)
	}
	b.reset()
	for asked, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, time.Hour: maxRetryAfter} {
		b.reset()
		if wait := b.next(&callError{status: 429, retryAfter: asked}); wait <= want || wait > want+againFirst {
			t.Errorf("Retry-After %s: waits %s", asked, wait)
		}
	}
	for value, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "99999999999": time.Hour} {
		if got := retryAfter(http.Header{"Retry-After": {value}}); got != want {
			t.Errorf("Retry-After: %s = %s, want %s", value, got, want)
		}
	}
}

// pollsIn runs an agent whose polls meet fault, for a time, and returns when its polls came.
func pollsIn(t *testing.T, length time.Duration, fault func(w http.ResponseWriter, r *http.Request) bool) (polls []time.Time) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.fault = func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Path == agentpoll.PathPoll && fault(w, r)
		}
		var d diary
		_, stop := start(t, g.config(t, methods{"create": d.note(Traits{})}))
		time.Sleep(length) // of the bubble
		stop()
		polls = look(g, &g.polls)
	})
	return polls
}

func TestAgentSlowsDownWhenRefused(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		polls := pollsIn(t, 24*time.Hour, func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		})
		if n := len(polls); n < 96 || n > 300 {
			t.Errorf("%d polls in a day of answers %d, want one each 7 minutes on the average", n, status)
		}
	}
}

func TestAgentNeverGivesUp(t *testing.T) {
	faults := map[string]func(w http.ResponseWriter){
		"500":      func(w http.ResponseWriter) { w.WriteHeader(500) },
		"cut":      cutOff,
		"nonsense": func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) },
		"cursor":   func(w http.ResponseWriter) { w.Header().Set(agentpoll.HeaderCursor, "x"); w.WriteHeader(204) },
	}
	for name, fault := range faults {
		polls := pollsIn(t, time.Hour, func(w http.ResponseWriter, _ *http.Request) bool { fault(w); return true })
		if n := len(polls); n < 60 || n > 250 {
			t.Errorf("%s: %d polls in an hour, want one each half minute on the average", name, n)
		}
	}
}

func TestEmptyAnswersAtOnceAreNoBusyLoop(t *testing.T) {
	polls := pollsIn(t, time.Hour, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusNoContent)
		return true
	})
	if n := len(polls); n > 250 {
		t.Errorf("%d polls in an hour", n)
	}
}

func TestProxyThatCutsAt15Seconds(t *testing.T) {
	ways := map[string]func(w http.ResponseWriter){
		"hangs up": cutOff,
		"says 504": func(w http.ResponseWriter) { w.WriteHeader(504) },
	}
	for name, way := range ways {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t)
			g.fault = func(w http.ResponseWriter, r *http.Request) bool {
				g.mu.Lock()
				idle := len(g.pending) == 0
				g.mu.Unlock()
				if r.URL.Path != agentpoll.PathPoll || !idle {
					return false
				}
				select {
				case <-time.After(15 * time.Second):
					way(w)
				case <-r.Context().Done():
				}
				return true
			}
			var d diary
			_, stop := start(t, g.config(t, methods{"create": d.note(Traits{})}))
			time.Sleep(time.Hour)
			begun := time.Now()
			g.enqueue("c1", "create", "")
			g.result(t, "c1")
			if waited := time.Since(begun); waited > 16*time.Second {
				t.Errorf("%s: a command waited %s", name, waited)
			}
			stop()
			for i, at := range look(g, &g.polls)[1:] {
				if gap := at.Sub(look(g, &g.polls)[i]); gap > 16*time.Second {
					t.Errorf("%s: poll %d came after %s", name, i+1, gap)
				}
			}
		})
	}
}

func TestSilentGatewayIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var hosts []string
		g.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != agentpoll.PathPoll {
				return false
			}
			g.change(func() { hosts = append(hosts, r.Host) })
			<-r.Context().Done() // and no answer, ever
			return true
		}
		cfg := g.config(t, methods{})
		cfg.Gateways = []string{"http://127.0.0.1:1", "http://127.0.0.2:2/"}
		start(t, cfg)
		g.until(t, "polls at both gateways", func() bool { return len(hosts) == 6 })
		if strings.Count(strings.Join(hosts, " "), "127.0.0.1:1") != 3 {
			t.Errorf("polled at %q", hosts)
		}
	})
}

func TestOneConnectionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		start(t, g.config(t, methods{}))
		time.Sleep(time.Hour) // of the bubble
		if look(g, &g.dials) != 1 || len(look(g, &g.polls)) < 60 {
			t.Errorf("%d connections for %d polls", look(g, &g.dials), len(look(g, &g.polls)))
		}
	})
}

// A result that makes a gateway fail must not keep the others from being sent.
func TestPoisonedResultStepsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		var refused atomic.Bool
		g.fault = func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.Contains(r.URL.Path, "/poison/"):
				w.WriteHeader(500)
			case strings.Contains(r.URL.Path, "/refused/") && !refused.Swap(true):
				w.WriteHeader(413)
			default:
				return false
			}
			return true
		}
		var d diary
		start(t, g.config(t, methods{"create": d.note(Traits{})}))
		g.enqueue("poison", "create", "")
		g.enqueue("refused", "create", "")
		g.enqueue("good", "create", "")
		g.result(t, "good")
		if r := g.result(t, "refused"); r.Error == nil || !strings.Contains(r.Error.Message, "413") {
			t.Errorf("refused: %+v", r)
		}
	})
}
