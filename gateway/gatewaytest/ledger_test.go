package gatewaytest_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ledger is every secret that a test has used.
type ledger struct {
	mu    sync.Mutex
	known map[string]entry // by the secret
}

type entry struct {
	what string
	home string // the one file that may hold it; "" is none
}

func newLedger() *ledger { return &ledger{known: map[string]entry{}} }

// know enters a secret of 8 bytes or more.
func (l *ledger) know(what, secret string) { l.knowOf(what, secret, "") }

// knowOf enters one that has its place in a file.
func (l *ledger) knowOf(what, secret, home string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[strings.TrimSpace(secret)] = entry{what, home}
}

// make makes a password that base64, URLs and JSON each write otherwise, and enters it.
func (l *ledger) make(what string) string {
	secret := rand.Text()[:12] + `+&=%"` + rand.Text()[:12]
	l.know(what, secret)
	return secret
}

// searcher finds the secrets that are known now.
func (l *ledger) searcher() *searcher {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &searcher{needles: map[uint64][]needle{}}
	for secret, e := range l.known {
		for form, texts := range forms(secret) {
			for _, text := range texts {
				start := binary.LittleEndian.Uint64([]byte(text))
				s.needles[start] = append(s.needles[start], needle{entry: e, form: form, text: []byte(text)})
				s.begins[uint16(start)] = true
			}
		}
	}
	return s
}

// searcher looks for many texts at once.
type searcher struct {
	begins  [1 << 16]bool       // whether any begins with these two bytes
	needles map[uint64][]needle // by their first eight bytes
}

type needle struct {
	entry
	form string
	text []byte
}

// in tells what secrets a text holds and in which form, and never the secret itself. at is the file that the text is of,
// or "".
func (s *searcher) in(text []byte, at string) []string {
	var found []string
	for i := 0; i+8 <= len(text); i++ {
		if !s.begins[binary.LittleEndian.Uint16(text[i:])] {
			continue
		}
		for _, n := range s.needles[binary.LittleEndian.Uint64(text[i:])] {
			if bytes.HasPrefix(text[i:], n.text) && (n.home == "" || n.home != at) {
				found = append(found, n.what+", "+n.form)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// forms are the ways in which a secret could be written down.
func forms(secret string) map[string][]string {
	inJSON := quoted(secret)
	plain := []string{secret, inJSON[1 : len(inJSON)-1], strings.ReplaceAll(secret, `"`, `\"`)}
	all := map[string][]string{"plain": plain, "url": {url.QueryEscape(secret), url.PathEscape(secret)}}
	for _, p := range plain {
		all["hex"] = append(all["hex"], hex.EncodeToString([]byte(p)), strings.ToUpper(hex.EncodeToString([]byte(p))))
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for offset := range 3 { // within what is encoded as a whole
				text := encoding.EncodeToString(append(make([]byte, offset), p...))
				// Without the characters that hold bits of what stands before or behind.
				all["base64"] = append(all["base64"], text[(offset*8+5)/6:(offset+len(p))*8/6])
			}
		}
	}
	return all
}

// watcher collects the command lines of all processes of the machine, as long as the test runs.
type watcher struct {
	mu    sync.Mutex
	seen  map[string]bool
	looks map[string]int // by process, how often it was looked at
}

const (
	youngLooks  = 10 // a process has other command lines, one after the other, while it is young
	seldomLooks = 50 // later it may still change its own: every so many looks
)

func watchCommandLines(t *testing.T) *watcher {
	w := &watcher{seen: map[string]bool{}, looks: map[string]int{}}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			w.look()
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	return w
}

func (w *watcher) look() {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	looks := make(map[string]int, len(processes))
	for _, process := range processes {
		n := w.looks[process] + 1
		looks[process] = n
		if n > youngLooks && n%seldomLooks != 0 {
			continue
		}
		line, err := os.ReadFile(process + "/cmdline")
		if err != nil || len(line) == 0 {
			continue
		}
		w.mu.Lock()
		w.seen[string(line)] = true
		w.mu.Unlock()
	}
	w.looks = looks
}

// lines are the command lines seen, but for those of the openstack client, which takes passwords as arguments.
func (w *watcher) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for line := range w.seen {
		if !strings.Contains(line, openstackProgram) {
			lines = append(lines, line)
		}
	}
	return lines
}
