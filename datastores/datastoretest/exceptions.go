package datastoretest

import (
	"slices"
	"strings"
	"testing"
)

// Exception names a test of the suite that is not run, and why. It may be a test of one strategy, "restore cut
// short/mysql_impl/mysqldump", a part of a test, "process/sockets", or a kind of writes that no test makes then, "kinds of
// writes/copy".
type Exception struct{ Test, Reason string }

// exceptions are those of a harness, and what has come of them.
type exceptions struct {
	t       *testing.T // of the whole suite
	all     []Exception
	excused map[Exception]bool
	row     string          // the test of the moment
	ran     map[string]bool // the tests that were run
}

// excuse reports whether there is an exception for a test, and prints it.
func (e *exceptions) excuse(test string) bool {
	i := slices.IndexFunc(e.all, func(x Exception) bool { return x.Test == test })
	if i < 0 {
		return false
	}
	x := e.all[i]
	if !e.excused[x] {
		e.t.Logf("EXCEPTION: %q is not run: %s", x.Test, x.Reason)
	}
	e.excused[x] = true
	return true
}

// check finds exceptions that excuse nothing. Those of parts are known when their test was run.
func (e *exceptions) check(rows []suiteTest) {
	for _, x := range e.all {
		notRun := slices.ContainsFunc(rows, func(c suiteTest) bool { return strings.HasPrefix(x.Test, c.name+"/") && !e.ran[c.name] })
		if !e.excused[x] && !notRun || x.Reason == "" {
			e.t.Errorf("exception %q excuses nothing: it names no test that would be run, or has no reason", x.Test)
		}
	}
}

// part runs a part of the test of the moment, if there is no exception for it.
func (s *server) part(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	if !s.exceptions.excuse(s.exceptions.row + "/" + name) {
		t.Run(name, test)
	}
}
