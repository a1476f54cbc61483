package datastoretest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testParameters checks the table of parameters itself, and what the harness says of it.
func testParameters(t *testing.T, s *server) {
	m := s.manager.(datastores.Configuration)
	all := m.Parameters()
	for _, problem := range (datastores.ServerOptions{Manager: "x", Parameters: all}).Problems() {
		t.Error(problem)
	}
	byName := map[string]datastores.Parameter{}
	for _, p := range all {
		if _, twice := byName[p.Name]; twice {
			t.Errorf("parameter %s is there twice", p.Name)
		}
		byName[p.Name] = p
		for _, limit := range []json.Number{p.Min, p.Max} {
			value := any(limit)
			if p.Type == datastores.DurationParameter {
				value = string(limit) + "s"
			}
			if err := p.Check(value); limit != "" && err != nil {
				t.Errorf("parameter %s does not take its own limit: %v", p.Name, err)
			}
		}
		for _, value := range wrong(p) {
			if len(datastores.CheckValues(all, datastores.Values{p.Name: value})) == 0 {
				t.Errorf("parameter %s takes %v (%T)", p.Name, value, value)
			}
		}
	}
	for _, kind := range []struct {
		values  datastores.Values
		restart bool
	}{{s.Dynamic, false}, {s.Static, true}} {
		there := slices.ContainsFunc(all, func(p datastores.Parameter) bool { return p.RestartRequired == kind.restart && !p.CreateOnly })
		if len(kind.values) == 0 && there {
			t.Errorf("the harness has no values with restart %v", kind.restart)
		}
		for _, problem := range datastores.CheckValues(all, kind.values) {
			t.Error(problem)
		}
		for name := range kind.values {
			if byName[name].RestartRequired != kind.restart {
				t.Errorf("parameter %s says restart %v, the harness %v", name, !kind.restart, kind.restart)
			}
		}
	}
	if len(m.DefaultConfiguration()) == 0 {
		t.Error("the default configuration is empty")
	}
	for name, text := range m.DefaultConfiguration() {
		if name == "" || strings.ContainsAny(text, "\x00\n\r") {
			t.Errorf("the default configuration has %q = %q", name, text)
		}
	}
}

// wrong are values that a parameter must not take.
func wrong(p datastores.Parameter) []any {
	values := []any{nil, 1, []any{"x"}}
	switch p.Type {
	case datastores.IntegerParameter:
		values = append(values, "1", true, json.Number("1.5"), json.Number("x"))
	case datastores.FloatParameter:
		values = append(values, "1", true, json.Number("x"))
	case datastores.BooleanParameter:
		values = append(values, "true", json.Number("1"))
	case datastores.DurationParameter:
		values = append(values, "1", "soon", json.Number("1"), true)
	case datastores.StringParameter:
		values = append(values, true, json.Number("1"), "a\nb", "a\x00b", strings.Repeat("x", 1025))
	}
	if p.Min != "" {
		values = append(values, json.Number("-99999999999999999999"))
	}
	if p.Max != "" {
		values = append(values, json.Number("99999999999999999999999999"))
	}
	return values
}

// testDynamic: values are in force at once, stay through everything, and go when they are taken away.
func testDynamic(t *testing.T, s *server) {
	if len(s.Dynamic) == 0 {
		t.Skip("every parameter takes a restart")
	}
	before := s.shown(t, s.Dynamic)
	s.override(t, s.Dynamic, false)
	s.shows(t, "at once", texts(s.Dynamic))
	s.restart(t)
	s.shows(t, "after a restart", texts(s.Dynamic))
	s.override(t, s.Dynamic, false)
	s.override(t, nil, false)
	s.shows(t, "without overrides", before)
	s.restart(t)
	s.shows(t, "without overrides, after a restart", before)
}

// testStatic: the server says that it needs a restart for as long as it does, to every manager that asks.
func testStatic(t *testing.T, s *server) {
	if len(s.Static) == 0 {
		t.Skip("no parameter takes a restart")
	}
	before := s.shown(t, s.Static)
	for range 2 {
		s.override(t, s.Static, true)
		s.manager = s.open(t)
	}
	s.shows(t, "before the restart", before)
	s.restart(t)
	s.shows(t, "after a restart", texts(s.Static))
	s.override(t, s.Static, false)
	s.override(t, nil, true)
	s.shows(t, "without overrides, before the restart", texts(s.Static))
	s.override(t, s.Static, false) // what runs is what is wanted again
	s.override(t, nil, true)
	s.restart(t)
	s.override(t, nil, false)
	s.shows(t, "without overrides, after a restart", before)
}

// testOverridesCutShort: after a call that was cut, the next one tells the truth and brings everything.
func testOverridesCutShort(t *testing.T, s *server) {
	all := s.allOverrides()
	before := s.shown(t, all)
	update := func(values datastores.Values) {
		s.cutSoon(t, func(ctx context.Context) error {
			_, err := s.manager.(datastores.Configuration).UpdateOverrides(ctx, values)
			return err
		})
	}
	update(all)
	s.override(t, all, len(s.Static) > 0)
	s.shows(t, "after a call that was cut", texts(s.Dynamic))
	update(nil)
	s.override(t, nil, false)
	s.shows(t, "taken away again", before)
	update(all)
	s.override(t, all, len(s.Static) > 0)
	s.restart(t)
	s.shows(t, "after a restart", texts(all))
	s.reset(t)
}

func testOverridesStopped(t *testing.T, s *server) {
	all := s.allOverrides()
	s.stop(t)
	s.override(t, all, false)
	s.wantStatus(t, datastores.StatusShutdown)
	s.manager = s.open(t)
	s.start(t)
	s.shows(t, "started", texts(all))
	s.reset(t)
}

func testOverridesAtPrepare(t *testing.T, h Harness) {
	s := newServer(t, t, h)
	req := datastores.PrepareRequest{Progress: func(string) {}, Overrides: s.allOverrides()}
	for range 2 {
		s.must(t, "prepare", s.prepareWith(t, req))
		s.shows(t, "after prepare", texts(req.Overrides))
		s.manager = s.open(t)
	}
	s.restart(t)
	s.shows(t, "after a restart", texts(req.Overrides))
}

// override sets values and checks whether the server says that it needs a restart.
func (s *server) override(t *testing.T, values datastores.Values, wantRestart bool) {
	t.Helper()
	restart, err := s.manager.(datastores.Configuration).UpdateOverrides(s.within(t), values)
	s.must(t, "update overrides", err)
	if restart != wantRestart {
		t.Errorf("overrides %v: restart = %v, want %v", values, restart, wantRestart)
	}
}

// reset takes all overrides away.
func (s *server) reset(t *testing.T) {
	t.Helper()
	_, err := s.manager.(datastores.Configuration).UpdateOverrides(s.within(t), nil)
	s.must(t, "take all overrides away", err)
	s.restart(t)
}

func (s *server) allOverrides() datastores.Values {
	all := datastores.Values{}
	maps.Copy(all, s.Dynamic)
	maps.Copy(all, s.Static)
	return all
}

// shown is what the running server has for the parameters of values.
func (s *server) shown(t *testing.T, values datastores.Values) map[string]string {
	t.Helper()
	has := map[string]string{}
	for name := range values {
		text, err := s.Show(s.within(t), s.manager, name)
		s.must(t, "show "+name, err)
		has[name] = text
	}
	return has
}

func (s *server) shows(t *testing.T, when string, want map[string]string) {
	t.Helper()
	for name, text := range want {
		got, err := s.Show(s.within(t), s.manager, name)
		if err != nil || got != text {
			t.Errorf("%s: %s is %q, %v; want %q", when, name, got, err, text)
		}
	}
}

func texts(values datastores.Values) map[string]string {
	all := map[string]string{}
	for name, value := range values {
		all[name] = fmt.Sprint(value)
	}
	return all
}
