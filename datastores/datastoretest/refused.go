package datastoretest

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testOverridesRefused: values with which no server starts are refused before anybody uses them, or by the start; then the
// server starts with the values before. Whoever only asks changes nothing.
func testOverridesRefused(t *testing.T, s *server) {
	if s.Refused == nil {
		t.Skip("the harness has no Refused: not tested")
	}
	s.reset(t)
	for _, values := range s.Refused {
		for _, problem := range datastores.CheckValues(s.manager.(datastores.Configuration).Parameters(), values) {
			t.Error(problem)
		}
		if s.refuses(t, values) {
			continue
		}
		s.override(t, s.Static, len(s.Static) > 0)
		s.restart(t)
		s.failsToStart(t, values)
		s.override(t, s.Static, false)
		s.start(t)
		s.wantStatus(t, datastores.StatusHealthy)
		s.shows(t, "with the values before", texts(s.Static))
		s.reset(t)
	}
	if s.refuses(t, s.allOverrides()) {
		t.Errorf("values with which a server starts are refused: %v", s.allOverrides())
	}
}

// refuses asks the manager whether no server starts with values, which must leave the running server and the disk alone.
func (s *server) refuses(t *testing.T, values datastores.Values) bool {
	t.Helper()
	checker, ok := s.manager.(datastores.OverridesChecker)
	if !ok {
		return false
	}
	all := s.allOverrides()
	status, shown, files := s.status(t), s.shown(t, all), s.files(t)
	err := checker.CheckOverrides(s.within(t), values)
	if err != nil {
		wantKind(t, "check overrides", err, datastores.Invalid)
		if text := err.Error(); text == "" || strings.ContainsAny(text, "\n") || strings.Contains(text, s.env.DataDir) || strings.Contains(text, s.env.Dir) {
			t.Errorf("%v are refused with %q; want one line that a tenant may read", values, text)
		}
	}
	if now := s.wantStatus(t, status.Service); !now.Since.Equal(status.Since) {
		t.Errorf("whoever asks whether %v are possible restarts the server", values)
	}
	s.shows(t, "after somebody has asked for others", shown)
	if now := s.files(t); !slices.Equal(now, files) {
		t.Errorf("whoever asks whether %v are possible leaves other files:\n%q\nbefore:\n%q", values, now, files)
	}
	return err != nil
}

// files are the names in the guest's directory and on the volume.
func (s *server) files(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{s.env.Dir + "/*", s.env.DataDir + "/*"} {
		found, err := filepath.Glob(pattern)
		s.must(t, "look for files", err)
		names = append(names, found...)
	}
	return names
}

// failsToStart stops the server and starts it with values. It reports whether that was tried: a manager may refuse values
// for a stopped server, too.
func (s *server) failsToStart(t *testing.T, values datastores.Values) bool {
	t.Helper()
	s.stop(t)
	_, err := s.manager.(datastores.Configuration).UpdateOverrides(s.within(t), values)
	var told *datastores.Error
	if errors.As(err, &told) && told.Kind == datastores.Invalid {
		return false
	}
	s.must(t, "update the overrides of a stopped server", err)
	if err := s.manager.Start(s.within(t)); err == nil {
		t.Errorf("the server starts with what it should refuse: %v", values)
	}
	s.stop(t)
	return true
}

// testFallBackCutShort: after a start that failed, a guest gives the server the values before and starts it. It may be killed
// at any moment of that, and the next one does it again.
func testFallBackCutShort(t *testing.T, s *server) {
	if len(s.Refused) == 0 {
		t.Skip("the harness has no Refused: not tested")
	}
	all := s.allOverrides()
	s.override(t, all, len(s.Static) > 0)
	s.restart(t)
	if !slices.ContainsFunc(s.Refused, func(v datastores.Values) bool { return s.failsToStart(t, v) }) {
		t.Log("a stopped server takes none of Refused: it is only started with what it had")
	}
	fallBack := func(ctx context.Context) error {
		if err := s.manager.Stop(ctx); err != nil {
			return err
		}
		if _, err := s.manager.(datastores.Configuration).UpdateOverrides(ctx, maps.Clone(all)); err != nil {
			return err
		}
		return s.manager.Start(ctx)
	}
	s.cutSoon(t, fallBack)
	s.must(t, "fall back, after that was cut", fallBack(s.within(t)))
	s.wantStatus(t, datastores.StatusHealthy)
	s.shows(t, "with the values before", texts(all))
	s.reset(t)
}
