package guest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

func (b *bench) wantValue(t *testing.T, parameter, want string) {
	t.Helper()
	if got, err := b.memory.Show(t.Context(), b.served.Load().manager, parameter); err != nil || got != want {
		t.Errorf("%s = %q, %v; want %q", parameter, got, err, want)
	}
}

func TestOverrides(t *testing.T) {
	b := newBench(t).prepared(t)
	reply := read[datastores.ConfigurationReply](t, b.do(t, command(datastores.MethodGetConfiguration), nil))
	if reply.Configuration["greeting"] != "hello" {
		t.Errorf("configuration: %v", reply.Configuration)
	}
	for _, c := range []struct {
		values  string
		restart bool
	}{
		{`{"greeting":"moin","max_connections":200}`, false},
		{`{"greeting":"moin","boot":"slow"}`, true},
	} {
		args := datastores.OverridesArgs{}
		if err := json.Unmarshal([]byte(c.values), &args.Values); err != nil {
			t.Fatal(err)
		}
		got := read[datastores.OverridesReply](t, b.do(t, command(datastores.MethodUpdateOverrides), args))
		if got.RestartRequired != c.restart {
			t.Errorf("%s: restart %v, want %v", c.values, got.RestartRequired, c.restart)
		}
	}
	b.wantValue(t, "greeting", "moin")
	b.wantValue(t, "max_connections", "100")
	b.wantValue(t, "boot", "fast")
	b.do(t, command(datastores.MethodRestart), datastores.RestartArgs{})
	b.wantValue(t, "boot", "slow")

	none := datastores.Values{}
	b.do(t, command(datastores.MethodRestart), datastores.RestartArgs{Overrides: &none})
	b.wantValue(t, "boot", "fast")
	b.do(t, command(datastores.MethodStop), nil)
	b.do(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: datastores.Values{"boot": "slow"}})
	b.wantStatus(t, datastores.StatusShutdown)
}

func TestOverridesAreCheckedAgain(t *testing.T) {
	b := newBench(t).prepared(t)
	bad := datastores.Values{"boot": "sideways", "plugin_dir": "/tmp", "strict": true}
	b.refused(t, command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: bad}, agentpoll.Invalid)
	b.refused(t, command(datastores.MethodRestart), datastores.RestartArgs{Overrides: &bad}, agentpoll.Invalid)
	if n := b.memory.Starts(address); n != 1 {
		t.Errorf("started %d times: the server was restarted for nothing", n)
	}
	_, err := b.run(t.Context(), command(datastores.MethodUpdateOverrides), datastores.OverridesArgs{Values: bad})
	if err == nil || !strings.Contains(err.Error(), "boot") || !strings.Contains(err.Error(), "plugin_dir") {
		t.Errorf("error: %v; want both names", err)
	}
}

func TestPrepareWithOverrides(t *testing.T) {
	b := newBench(t)
	b.refused(t, command(datastores.MethodPrepare), datastores.PrepareArgs{Overrides: datastores.Values{"boot": "x"}}, agentpoll.Invalid)
	b.wantStatus(t, datastores.StatusFailed)
	b.do(t, agent.Command{Method: datastores.MethodPrepare}, datastores.PrepareArgs{Overrides: datastores.Values{"boot": "slow"}})
	b.wantValue(t, "boot", "slow")
}
