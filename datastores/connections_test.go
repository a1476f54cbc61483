package datastores_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
)

// TestConnectionStrings fills templates for an instance alone, a set and a cluster.
func TestConnectionStrings(t *testing.T) {
	o := datastores.ServerOptions{
		Manager: "sql", TCPPorts: []datastores.PortRange{{First: 5432, Last: 5433}, {First: 80, Last: 80}},
		Connections: map[string]string{"primary": "sql://{members}/?target=read-write", "source": "sql://{source}/", "replicas": "sql://{replicas}/", "contact_points": "{members}"},
	}
	if problems := o.Problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		source            string
		replicas, members []string
		want              map[string]string
	}{
		{"10.0.0.1", nil, []string{"10.0.0.1"}, map[string]string{"primary": "sql://10.0.0.1:5432/?target=read-write", "source": "sql://10.0.0.1:5432/", "contact_points": "10.0.0.1:5432"}},
		{"10.0.0.1", []string{"10.0.0.2", "10.0.0.3"}, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, map[string]string{
			"primary": "sql://10.0.0.1:5432,10.0.0.2:5432,10.0.0.3:5432/?target=read-write", "source": "sql://10.0.0.1:5432/",
			"replicas": "sql://10.0.0.2:5432,10.0.0.3:5432/", "contact_points": "10.0.0.1:5432,10.0.0.2:5432,10.0.0.3:5432",
		}},
		{"", nil, []string{"10.0.0.1", "10.0.0.2"}, map[string]string{"primary": "sql://10.0.0.1:5432,10.0.0.2:5432/?target=read-write", "contact_points": "10.0.0.1:5432,10.0.0.2:5432"}},
		{"", nil, nil, map[string]string{}},
	} {
		if diff := cmp.Diff(c.want, o.ConnectionStrings(c.source, c.replicas, c.members)); diff != "" {
			t.Errorf("source %q, members %v (-want +got):\n%s", c.source, c.members, diff)
		}
	}
	for template, says := range map[string]string{
		"sql://root:secret@{members}/": "no @", "sql://{hosts}/": "{hosts} is unknown", "sql://10.0.0.1/": "names no address",
		"sql://{members} x": "without spaces", "sql://{members}/" + strings.Repeat("x", 200): "at most 200",
	} {
		o.Connections = map[string]string{"primary": template}
		problems := o.Problems()
		if len(problems) != 1 || !strings.Contains(problems[0].Error(), says) || strings.Contains(problems[0].Error(), "secret") {
			t.Errorf("%s: %v; want %q", template, problems, says)
		}
		if got := o.ConnectionStrings("10.0.0.1", nil, []string{"10.0.0.1"}); len(got) != 0 {
			t.Errorf("%s: %v", template, got)
		}
	}
	o.Connections = map[string]string{"Not a name": "{members}"}
	if problems := o.Problems(); len(problems) != 1 {
		t.Errorf("%v", problems)
	}
}
