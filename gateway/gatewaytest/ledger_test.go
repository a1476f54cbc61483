package gatewaytest_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
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

// ledger is every secret that a test has used, by what it is.
type ledger struct {
	mu    sync.Mutex
	known map[string]string // secret -> what it is
}

func newLedger() *ledger { return &ledger{known: map[string]string{}} }

// know enters a secret.
func (l *ledger) know(what, secret string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[strings.TrimSpace(secret)] = what
}

// make makes a password that base64, URLs and JSON each write otherwise, and enters it.
func (l *ledger) make(what string) string {
	secret := rand.Text()[:12] + `+&=%"` + rand.Text()[:12]
	l.know(what, secret)
	return secret
}

// in tells which secrets a text holds, in any of their forms. It never says the secret itself.
func (l *ledger) in(text []byte) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for secret, what := range l.known {
		for form, needles := range forms(secret) {
			if slices.ContainsFunc(needles, func(n string) bool { return bytes.Contains(text, []byte(n)) }) {
				found = append(found, what+", "+form)
			}
		}
	}
	slices.Sort(found)
	return found
}

// forms are the ways in which a secret could be written down.
func forms(secret string) map[string][]string {
	json := quoted(secret)
	all := map[string][]string{
		"plain": {secret, json[1 : len(json)-1], strings.ReplaceAll(secret, `"`, `\"`)},
		"url":   {url.QueryEscape(secret), url.PathEscape(secret)},
		"hex":   {hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))},
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset := range 3 { // within what is encoded as a whole
			text := encoding.EncodeToString(append(make([]byte, offset), secret...))
			// Without the characters that hold bits of what stands before or behind.
			all["base64"] = append(all["base64"], text[(offset*8+5)/6:(offset+len(secret))*8/6])
		}
	}
	return all
}

// watcher collects the command lines of all processes of the machine, as long as the test runs.
type watcher struct {
	mu   sync.Mutex
	seen map[string]bool
}

func watchCommandLines(t *testing.T) *watcher {
	w := &watcher{seen: map[string]bool{}}
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
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || len(line) == 0 {
			continue
		}
		w.mu.Lock()
		w.seen[string(line)] = true
		w.mu.Unlock()
	}
}

// lines are the command lines seen, but for those of the openstack client, which takes passwords as arguments.
func (w *watcher) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for line := range w.seen {
		if !strings.Contains(line, openstackProgram) {
			lines = append(lines, strings.ReplaceAll(line, "\x00", " "))
		}
	}
	return lines
}
