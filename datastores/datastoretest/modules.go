package datastoretest

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// ModuleTrial is something to put into a module of a type that the suite does not know.
type ModuleTrial struct {
	Contents, Other []byte // both taken; what Other brings differs
	Bad             []byte // refused with Invalid; nil: everything is taken
}

// aModule is the id of the module that is tried.
const aModule = "0199d0a1-0000-7000-8000-00000000000a"

// testModules applies a module of each type, again, with something else in it, and takes it away twice. The server goes on meanwhile.
func testModules(t *testing.T, s *server) {
	drivers := s.manager.(datastores.Modules).ModuleDrivers()
	if slices.ContainsFunc(drivers, func(d datastores.ModuleDriver) bool { return d.Type == "sql" }) {
		databases := s.manager.(datastores.Databases)
		s.must(t, "make a database for modules", databases.CreateDatabase(s.within(t), datastores.Database{Name: "suite_modules"}))
		defer func() {
			s.must(t, "delete the database for modules", databases.DeleteDatabase(s.within(t), "suite_modules"))
		}()
	}
	for _, d := range drivers {
		trial, known := map[string]ModuleTrial{
			"ping":     {Contents: []byte("first"), Other: []byte("second")},
			"key_file": {Contents: []byte("first\x00\xff secret"), Other: []byte("second secret")},
			"sql": {
				Contents: []byte("-- database: suite_modules\nCREATE TABLE IF NOT EXISTS t (secret int)"), Other: []byte("-- database: suite_modules\nDROP TABLE t; CREATE TABLE t (a int)"),
				Bad: []byte("-- database: suite_modules\nsecret nonsense"),
			},
			// What of it the server takes is a matter of its parameters.
			"parameters": {Contents: []byte(`{"a":"secret"}`), Other: []byte(`{"a":1}`), Bad: []byte(`["secret"]`)},
		}[d.Type]
		if !known {
			trial, known = s.Modules[d.Type]
		}
		if !known {
			t.Errorf("the harness has nothing to put into a module of type %s: see its Modules", d.Type)
			continue
		}
		if d.Parameters != nil {
			testParameterModules(t, s, d, trial)
			continue
		}
		before := s.moduleFiles(t)
		apply := func(contents []byte) {
			t.Helper()
			m := datastores.AppliedModule{ID: aModule, Name: "trial.key", Contents: contents}
			message, err := d.Apply(s.within(t), m)
			s.must(t, "apply "+d.Type, err)
			if strings.Contains(message, "secret") {
				t.Errorf("%s tells of what is in the module: %q", d.Type, message)
			}
			if d.Type == "key_file" {
				s.wantKeyFile(t, m)
			}
		}
		for range 2 {
			apply(trial.Contents)
		}
		apply(trial.Other)
		if d.Type == "key_file" {
			trial.Bad = trial.Other
		}
		if trial.Bad != nil {
			_, err := d.Apply(s.within(t), datastores.AppliedModule{ID: aModule, Name: "../escaped", Contents: trial.Bad})
			if wrong, is := errors.AsType[*datastores.Error](err); !is || wrong.Kind != datastores.Invalid || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s of what it does not take: %v; want Invalid, and nothing of what is in it", d.Type, err)
			}
		}
		cut, cancel := context.WithCancel(s.within(t))
		cancel()
		if _, err := d.Apply(cut, datastores.AppliedModule{ID: aModule, Name: "trial.key", Contents: trial.Contents}); err == nil {
			t.Errorf("%s was applied for nobody", d.Type)
		}
		for range 2 {
			s.must(t, "remove "+d.Type, d.Remove(s.within(t), aModule))
		}
		if after := s.moduleFiles(t); after != before {
			t.Errorf("%s was removed, and has left files: %s; before there were %q", d.Type, after, before)
		}
	}
	if st := s.manager.Status(s.within(t)); st.Service != datastores.StatusHealthy {
		t.Errorf("the server is %s after that", st.Service)
	}
}

// testParameterModules reads what modules set. What is set is the runtime's, which asks the manager as it does for a tenant.
func testParameterModules(t *testing.T, s *server, d datastores.ModuleDriver, trial ModuleTrial) {
	if _, ok := s.manager.(datastores.Configuration); !ok {
		t.Errorf("modules of type %s set parameters, and the manager has none to set", d.Type)
	}
	for _, contents := range [][]byte{trial.Contents, trial.Other} {
		if values, err := d.Parameters(datastores.AppliedModule{ID: aModule, Contents: contents}); err != nil || len(values) == 0 {
			t.Errorf("%s sets %v, %v", d.Type, values, err)
		}
	}
	if trial.Bad == nil {
		return
	}
	_, err := d.Parameters(datastores.AppliedModule{ID: aModule, Contents: trial.Bad})
	if wrong, is := errors.AsType[*datastores.Error](err); !is || wrong.Kind != datastores.Invalid || strings.Contains(err.Error(), "secret") {
		t.Errorf("%s of what it does not take: %v; want Invalid, and nothing of what is in it", d.Type, err)
	}
}

// wantKeyFile looks at what a module has become: a file of the server's user that nobody else reads.
func (s *server) wantKeyFile(t *testing.T, m datastores.AppliedModule) {
	t.Helper()
	dir, err := volume.Data(s.env).Open()
	s.must(t, "open the data directory", err)
	defer func() { _ = dir.Close() }()
	name := "modules/" + m.ID + "/" + m.Name
	got, err := dir.ReadFile(name, 1<<20)
	if err != nil || string(got) != string(m.Contents) {
		t.Errorf("the file of the module is not what is in it: %v", err)
		return
	}
	if info, err := dir.Lstat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v; want 0600", info.Mode(), err)
	}
}

// moduleFiles are the names of all files of modules.
func (s *server) moduleFiles(t *testing.T) string {
	t.Helper()
	dir, err := volume.Data(s.env).Open()
	s.must(t, "open the data directory", err)
	defer func() { _ = dir.Close() }()
	var names []string
	if there, err := dir.Exists("modules"); err != nil || !there {
		return ""
	}
	s.must(t, "look at the files of modules", dir.Walk("modules", func(name string, d fs.DirEntry, err error) error {
		if err == nil && name != "modules" {
			names = append(names, name)
		}
		return err
	}))
	return strings.Join(names, " ")
}
