package datastoretest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testLogs: system logs are there, and are not for tenants to turn off.
func testLogs(t *testing.T, s *server) {
	m := s.manager.(datastores.Logs)
	files := map[string]string{}
	for _, log := range m.Logs() {
		file := m.LogFile(log.Name)
		if !filepath.IsAbs(file) || filepath.Clean(file) != file {
			t.Errorf("log %s is in %q, want an absolute path", log.Name, file)
		}
		if other, ok := files[file]; ok {
			t.Errorf("logs %s and %s are one file", log.Name, other)
		}
		files[file] = log.Name
		switch log.Type {
		case datastores.SystemLog:
			for _, on := range []bool{true, false} {
				if _, err := m.SetLog(s.within(t), log.Name, on); err == nil {
					t.Errorf("system log %s can be turned on and off", log.Name)
				}
			}
			s.eventually(t, func() (bool, string) { return size(file) > 0, "nothing is in " + file })
		case datastores.UserLog:
		default:
			t.Errorf("log %s is of type %q", log.Name, log.Type)
		}
	}
	if _, err := m.SetLog(s.within(t), "no such log", true); err == nil {
		t.Error("a log that does not exist was turned on")
	}
}

// testUserLogs turns each on and off: it grows while it is on, after a restart too, and not when it is off.
func testUserLogs(t *testing.T, s *server) {
	s.visitor(t)
	for _, log := range s.manager.(datastores.Logs).Logs() {
		if log.Type != datastores.UserLog {
			continue
		}
		file := s.manager.(datastores.Logs).LogFile(log.Name)
		for range 2 {
			s.setLog(t, log.Name, true)
		}
		s.growing(t, log.Name, file)
		s.restart(t)
		s.growing(t, log.Name, file)
		for range 2 {
			s.setLog(t, log.Name, false)
		}
		s.stirred(t, log.Name)
		before := size(file)
		for range 5 {
			s.stirred(t, log.Name)
		}
		s.restart(t) // whatever was kept back is written by now
		s.stirred(t, log.Name)
		if after := size(file); after > before {
			t.Errorf("log %s is off and has grown from %d to %d bytes", log.Name, before, after)
		}
	}
}

func (s *server) setLog(t *testing.T, name string, on bool) {
	t.Helper()
	restart, err := s.manager.(datastores.Logs).SetLog(s.within(t), name, on)
	s.must(t, "set log "+name, err)
	if restart {
		s.restart(t)
	}
}

// growing stirs the server until the log has grown.
func (s *server) growing(t *testing.T, name, file string) {
	t.Helper()
	before := size(file)
	s.eventually(t, func() (bool, string) {
		s.stirred(t, name)
		return size(file) > before, "log " + name + " is on and does not grow: " + file
	})
}

// stirred has a tenant do something that the log should tell of.
func (s *server) stirred(t *testing.T, log string) {
	t.Helper()
	if s.Stir != nil {
		s.must(t, "stir", s.Stir(s.within(t), s.login, log))
		return
	}
	s.letsIn(t, s.login.User, s.login.Password, s.login.Database)
}

func size(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}
