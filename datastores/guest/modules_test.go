package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/modules"
)

// moduleID is the id of a module of a test.
func moduleID(n int) string { return fmt.Sprintf("0199d0a1-0000-7000-8000-00000000000%d", n) }

// modules has the guest change modules, and returns what it tells of each, by its id's last digit.
func (b *bench) modules(t *testing.T, args datastores.ModulesArgs) (told map[string]string, restart bool) {
	t.Helper()
	reply := read[datastores.ModulesReply](t, b.do(t, command(datastores.MethodModules), args))
	told = map[string]string{}
	for _, m := range reply.Modules {
		told[m.ID[len(m.ID)-1:]] = m.Status + ": " + m.Message
		if strings.Contains(m.Message, "secret") {
			t.Errorf("it tells of what is in it: %q", m.Message)
		}
	}
	return told, reply.RestartRequired
}

func setting(n int, contents string) datastores.ModulesArgs {
	return datastores.ModulesArgs{Apply: []datastores.ModuleArgs{datastores.NewModuleArgs(moduleID(n), "m", "parameters", "x", []byte(contents))}}
}

// TestParametersOfModules: what a module sets is checked and set like what a tenant sets, below that; what it has set goes with it, and
// nothing that the server cannot have is set at all.
func TestParametersOfModules(t *testing.T) {
	b := newBench(t).prepared(t)
	want := func(greeting, connections string) {
		t.Helper()
		b.wantValue(t, "greeting", greeting)
		b.wantValue(t, "max_connections", connections)
	}
	b.do(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: datastores.Values{"greeting": "moin"}})
	told, restart := b.modules(t, setting(1, `{"greeting":"hi","max_connections":7}`))
	if restart || told["1"] != "OK: it sets greeting, max_connections; the configuration group sets greeting, too, and has precedence" {
		t.Errorf("applied: %v, restart %v", told, restart)
	}
	want("moin", "7")
	b = b.again(t)
	b.do(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: datastores.Values{}})
	want("hi", "7") // what the group does not set any more
	b.do(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: datastores.Values{"max_connections": json.Number("9")}})
	want("hi", "9")

	for contents, says := range map[string]string{
		`{"max_connections":"secret"}`: "the value of max_connections is none",
		`{"no_such_secret":1}`:         "1 of its names are no parameters",
		`["secret"]`:                   "is a JSON object",
		`{"greeting":"ho"}`:            "module " + moduleID(1) + " sets greeting already",
		`{"ratio":1}`:                  "no server starts with these values beside the others that are set: ratio",
		`{"format":"old"}`:             "format fixes the format of the data",
		`{"strict":false,"ratio":1,"boot":"a secret"}`: "the value of boot",
	} {
		if told, _ := b.modules(t, setting(2, contents)); !strings.HasPrefix(told["2"], "ERROR: ") || !strings.Contains(told["2"], says) {
			t.Errorf("%s: %v; want %q", contents, told, says)
		}
	}
	want("hi", "9")
	b.wantValue(t, "strict", "true")

	// Applied again with something else, of which nothing former stays; then what takes a restart.
	told, restart = b.modules(t, setting(1, `{"boot":"slow"}`))
	if !restart || told["1"] != "OK: it sets boot; a restart is needed" {
		t.Errorf("applied again: %v, restart %v", told, restart)
	}
	want("hello", "9")
	b.do(t, command(datastores.MethodRestart), datastores.RestartArgs{})
	b.wantValue(t, "boot", "slow")
	told, restart = b.modules(t, datastores.ModulesArgs{Remove: []datastores.ModuleArgs{{ID: moduleID(1)}}})
	if !restart || !strings.HasPrefix(told["1"], "OK") {
		t.Errorf("removed: %v, restart %v", told, restart)
	}
	none := datastores.Values{}
	b.do(t, command(datastores.MethodRestart), datastores.RestartArgs{Overrides: &none})
	b.wantValue(t, "boot", "fast")
	want("hello", "100")
}

// TestModulesThatAreAppliedOnce: what is in a module is done once, whether it is applied again, its command was cut and comes again, or its server is made
// anew of data that has it; what failed is done again when somebody asks.
func TestModulesThatAreAppliedOnce(t *testing.T) {
	b := newBench(t).prepared(t)
	runs, fail, cut := 0, false, func() {}
	driver := modules.SQL(func(ctx context.Context, s modules.Statements) error {
		runs++
		cut()
		if fail {
			return modules.Refused("1")
		}
		return ctx.Err()
	})
	m := onlyDriver{b.served.Load().manager, driver}
	change := func(ctx context.Context, repeated bool, change func(*datastores.ModuleArgs)) string {
		t.Helper()
		one := datastores.NewModuleArgs(moduleID(1), "m", "sql", "x", []byte("-- database: d\nsecret"))
		if change != nil {
			change(&one)
		}
		reply, err := b.changeModules(ctx, call{b.served.Load().reserved, m, repeated}, m, datastores.ModulesArgs{Apply: []datastores.ModuleArgs{one}})
		if err != nil {
			return "cut"
		}
		return reply.Modules[0].Status
	}
	want := func(got, status string, n int) {
		t.Helper()
		if got != status || runs != n {
			t.Errorf("it is %s and has run %d times; want %s, %d", got, runs, status, n)
		}
	}
	want(change(t.Context(), false, nil), "OK", 1)
	want(change(t.Context(), false, nil), "OK", 1)
	want(change(t.Context(), true, nil), "OK", 1)
	want(change(t.Context(), false, func(one *datastores.ModuleArgs) { one.MD5 = "y" }), "OK", 2)

	ctx, cancel := context.WithCancel(t.Context())
	cut = cancel
	want(change(ctx, false, nil), "cut", 3)
	cut = func() {}
	want(change(t.Context(), true, nil), "ERROR", 3) // nobody knows how far it came
	fail = true
	want(change(t.Context(), false, nil), "ERROR", 4)
	fail = false
	want(change(t.Context(), false, nil), "OK", 5)

	if err := b.state.change(func(s *state) { s.Modules = nil }); err != nil { // as of a server that is made anew
		t.Fatal(err)
	}
	want(change(t.Context(), true, func(one *datastores.ModuleArgs) { one.Had = "x" }), "OK", 5)
	want(change(t.Context(), false, func(one *datastores.ModuleArgs) { one.MD5, one.Member = "z", true }), "ERROR", 5) // a cluster's data are not its own
}

// onlyDriver is a manager with one driver of modules.
type onlyDriver struct {
	datastores.Manager
	driver datastores.ModuleDriver
}

func (o onlyDriver) ModuleDrivers() []datastores.ModuleDriver {
	return []datastores.ModuleDriver{o.driver}
}

// TestPrepareWithParametersOfModules: a new server is made with what its modules set, but for those that it cannot have.
func TestPrepareWithParametersOfModules(t *testing.T) {
	b := newBench(t)
	args := datastores.PrepareArgs{Overrides: datastores.Values{"greeting": "moin"}}
	for n, contents := range []string{`{"boot":"slow","format":"old","greeting":"hi"}`, `{"ratio":1}`, `{"ratio":1,"strict":false}`} {
		args.Modules = append(args.Modules, setting(n+1, contents).Apply...)
	}
	reply := read[datastores.PrepareReply](t, b.do(t, command(datastores.MethodPrepare), args))
	if len(reply.Modules) != 3 || reply.Modules[0].Status != "OK" || reply.Modules[1].Status != "ERROR" || reply.Modules[2].Status != "OK" {
		t.Errorf("made: %+v", reply.Modules)
	}
	for name, want := range map[string]string{"boot": "slow", "format": "old", "greeting": "moin", "ratio": "1", "strict": "false"} {
		b.wantValue(t, name, want)
	}
	told, restart := b.modules(t, datastores.ModulesArgs{Remove: []datastores.ModuleArgs{{ID: moduleID(1)}, {ID: moduleID(3)}}})
	if !restart || len(told) != 3 {
		t.Errorf("removed: %v, restart %v", told, restart)
	}
	for name, want := range map[string]string{"format": "old", "greeting": "moin", "ratio": "0.5", "strict": "true"} {
		b.wantValue(t, name, want)
	}
}
