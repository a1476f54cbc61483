package datastores

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPortRange(t *testing.T) {
	for text, want := range map[string]PortRange{
		"3306": {3306, 3306}, "1": {1, 1}, "65535": {65535, 65535}, "21100-21199": {21100, 21199}, " 1 - 2 ": {1, 2},
		"": {}, "0": {}, "65536": {}, "2-1": {}, "-1": {}, "1-": {}, "1-2-3": {}, "http": {},
	} {
		got, err := ParsePortRange(text)
		if got != want || (err == nil) != (want != PortRange{}) {
			t.Errorf("ParsePortRange(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	var list []PortRange
	const wire = `[3306,"21100-21199"]`
	if err := json.Unmarshal([]byte(wire), &list); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(list); err != nil || string(b) != wire {
		t.Errorf("%s was read and written as %s, %v", wire, b, err)
	}
	for _, bad := range []string{`[3306.5]`, `["x"]`, `[{}]`, `[true]`} {
		if err := json.Unmarshal([]byte(bad), &list); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestServerOptionsProblems(t *testing.T) {
	good := ServerOptions{Manager: "redis", Capabilities: []Capability{CanRoot}, Names: NameRules{User: `[a-z]+`}}
	if problems := good.Problems(); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	bad := ServerOptions{
		Manager: "../redis", UsageTimeout: -1, MaxVolumeSize: -1,
		Capabilities: []Capability{"flying"}, Names: NameRules{Database: `(`, User: `\Qabc`, Password: `[`},
		PrivateCIDRs: []string{"fd00::/8"},
	}
	var texts []string
	for _, p := range bad.Problems() {
		texts = append(texts, p.Error())
	}
	all := strings.Join(texts, "\n")
	for _, path := range []string{"manager:", "usage_timeout:", "max_volume_size:", "capabilities[0]:", "names.database:", "names.user:", "names.password:", "private_cidrs[0]:"} {
		if !strings.Contains(all, path) {
			t.Errorf("nothing is said of %s in\n%s", path, all)
		}
	}
}

func TestMethodTable(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Methods() {
		if seen[m.Name] || m.Timeout <= 0 {
			t.Errorf("%+v: twice, or without timeout", m)
		}
		seen[m.Name] = true
		if got, ok := LookupMethod(m.Name); !ok || got != m {
			t.Errorf("LookupMethod(%s) = %+v, %v", m.Name, got, ok)
		}
	}
	if _, ok := LookupMethod("get_hwinfo"); ok {
		t.Error("a method that is not in the table was found")
	}
}
