package service

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	dpkgStatus  = "/var/lib/dpkg/status"
	dpkgUpdates = "/var/lib/dpkg/updates"
)

// Missing returns those names that are not fully installed. It reads what dpkg has written, which takes a tenth of the time of asking
// dpkg; only while that is at work, or was cut off, it asks.
func (s System) Missing(ctx context.Context, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if updates, err := os.ReadDir(s.path(dpkgUpdates)); err == nil && len(updates) == 0 {
		if f, err := os.Open(s.path(dpkgStatus)); err == nil {
			defer func() { _ = f.Close() }()
			return absent(f, names)
		}
	}
	argv := []string{"dpkg-query", "--admindir", s.path("/var/lib/dpkg"), "-W", "-f", "${db:Status-Status} ${Package}\n", "--"}
	out, err := Run(ctx, append(argv, names...), RunOptions{}) // fails when it knows one of them not, and tells of the others
	if ctx.Err() != nil {
		return nil, err
	}
	return without(names, parseInstalled(out)), nil
}

// absent reads dpkg's status: a stanza for each package and architecture, with "Package: NAME" and "Status: WANT FLAG STATUS".
func absent(status io.Reader, names []string) ([]string, error) {
	var installed []string
	name, rest := "", false
	lines := bufio.NewReader(status)
	for {
		line, err := lines.ReadSlice('\n') // of a long one the beginning is enough
		if rest {
			line = nil
		}
		rest = err == bufio.ErrBufferFull
		if n, ok := bytes.CutPrefix(line, []byte("Package: ")); ok {
			name = strings.TrimSpace(string(n))
		} else if w, ok := bytes.CutPrefix(line, []byte("Status: ")); ok && bytes.HasSuffix(bytes.TrimSpace(w), []byte(" installed")) && slices.Contains(names, name) {
			installed = append(installed, name)
		}
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			return without(names, installed), nil
		default:
			return nil, err
		}
	}
}

func without(names, installed []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(installed, n) })
}

func parseInstalled(out []byte) []string {
	var names []string
	for line := range bytes.Lines(out) {
		if name, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("installed ")); ok {
			names = append(names, string(name))
		}
	}
	return names
}
