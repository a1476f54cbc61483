package strict_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema/strict"
	"github.com/hashicorp/go-multierror"
)

const (
	goodServer = `{"manager":"redis","capabilities":["root"],"tcp_ports":[6379,"21100-21199"]}`
	goodGuest  = `{"mount_point":"/var/lib/redis","maxmemory_percent":75}`
)

// Every problem is told at once: where it is, and what is allowed.
func TestReadVersion(t *testing.T) {
	own := []datastores.OptionDoc{{Name: "maxmemory_percent"}}
	for name, c := range map[string]struct {
		server, guest string
		own           []datastores.OptionDoc
		want          []string // parts of each problem, in order
	}{
		"good":      {server: goodServer, guest: goodGuest},
		"known own": {server: goodServer, guest: goodGuest, own: own},
		"YAML": {
			server: "# a comment\nv: 1\nmanager: redis\ncapabilities: [root]\ntcp_ports:\n  - 6379\n  - 21100-21199\nnames:\n  user: '^[a-z]+$'\n",
			guest:  "mount_point: /var/lib/redis\npackages:\n",
		},
		"missing halves": {want: []string{"server half: missing", "guest half: missing"}},
		"all at once": {
			server: `{"manager":7,"mount_point":"/x","tcp_ports":[0,"1-2",{}],"icmp":"yes","colour":1,"capabilities":["fly"],"names":{"user":"(","nick":""},"icmp":true}`,
			guest:  `{"mount_point":"relative","tcp_ports":[1],"packages":["Bad Name",1],"v":2}`,
			want: []string{
				"server half: manager: is a number; want text, in quotes",
				"server half: mount_point: belongs to the guest half",
				"server half: tcp_ports[0]: port \"0\"",
				"server half: tcp_ports[2]: port",
				"server half: icmp: is text; want true or false",
				"server half: colour: unknown option; allowed: manager, version_number, active, tcp_ports",
				"server half: names.nick: unknown option; allowed: database, user, host, password",
				"server half: icmp: given twice",
				"server half: capabilities[0]: \"fly\" is unknown; allowed: [databases",
				"server half: names.user: error parsing regexp",
				"guest half: v: format 2",
				"guest half: tcp_ports: belongs to the server half",
				"guest half: packages[1]: is a number; want text",
				"guest half: mount_point: \"relative\" is not an absolute path",
				"guest half: packages[0]: \"Bad Name\"",
			},
		},
		"unknown own": {
			server: goodServer, guest: `{"mount_point":"/x","max_memory":1}`, own: own,
			want: []string{"guest half: max_memory: unknown option; allowed: mount_point, device_path"},
		},
		"a strategy of nobody's": {
			server: `{"manager":"redis","backup_strategy":"tape","backup_strategies":[{"namespace":"redis_impl","name":"rdb"}]}`, guest: goodGuest,
			want: []string{`server half: backup_strategy: "tape" is not a strategy of manager redis; its manifest lists: redis_impl/rdb`},
		},
		"halves disagree": {
			server: `{"manager":"redis","backup_strategy":"rdb","backup_strategies":[{"namespace":"redis_impl","name":"rdb"}]}`,
			guest:  `{"mount_point":"/var/lib/redis","backup_strategy":"aof","backup_namespace":"tape_impl","restore_namespace":"x","replication_namespace":"y"}`,
			want: []string{
				`guest half: backup_strategy: "aof" is not one of manager redis; its manifest lists: redis_impl/rdb`,
				`guest half: backup_namespace: "tape_impl" is not one of`,
				`guest half: restore_namespace: "x" is not one of`,
				`guest half: replication_namespace: "y" is not one of manager redis; its manifest lists: none`,
			},
		},
		"duplicates in YAML": {
			server: "manager: redis\nmanager: mysql\nicmp: true\nicmp: false\n", guest: goodGuest,
			want: []string{"server half: manager: given twice", "server half: icmp: given twice"},
		},
		"an unquoted version": {
			server: "manager: redis\nversion_number: 7.0\n", guest: goodGuest,
			want: []string{"server half: version_number: is a number; want text, in quotes"},
		},
		"no object":       {server: `["redis"]`, guest: "just words", want: []string{"server half: is a list; want an object", "guest half: is text; want an object"}},
		"broken":          {server: `{"manager":`, guest: "a: b: c", want: []string{"server half: neither JSON nor YAML", "guest half: neither JSON nor YAML"}},
		"aliases":         {server: "a: &a [x]\nb: *a", guest: goodGuest, want: []string{"server half: YAML line 1: anchors"}},
		"two documents":   {server: goodServer, guest: "a: 1\n---\nb: 1", want: []string{"guest half: more than one YAML document"}},
		"empty":           {server: "# nothing", guest: "\n", want: []string{"server half: the value is empty", "guest half: the value is empty"}},
		"a deep one":      {server: strings.Repeat("[", 60000), guest: strings.Repeat("- ", 30000), want: []string{"reasonable nesting", "reasonable nesting"}},
		"not a number":    {server: "manager: redis\nusage_timeout: .inf", guest: goodGuest, want: []string{"server half: YAML"}},
		"a number's size": {server: `{"manager":"redis","max_volume_size":1e99}`, guest: goodGuest, want: []string{"max_volume_size: is a number; want a whole number"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, guest, err := strict.ReadVersion([]byte(c.server), []byte(c.guest), c.own...)
			var all *multierror.Error
			if errors.As(err, &all) != (len(c.want) > 0) {
				t.Fatalf("error %v; want %d problems", err, len(c.want))
			}
			if all == nil {
				if !strings.HasPrefix(string(guest), `{"mount_point":"/var/lib/redis"`) {
					t.Errorf("the guest half is %s", guest)
				}
				return
			}
			for i, one := range all.Errors {
				if i >= len(c.want) || !strings.Contains(one.Error(), c.want[i]) {
					t.Errorf("problem %d: %v", i, one)
				}
			}
			if len(all.Errors) < len(c.want) {
				t.Errorf("want also %q", c.want[len(all.Errors):])
			}
		})
	}
}

// Whatever an operator writes is judged, and what is judged to be good means the same as JSON.
func FuzzReadVersion(f *testing.F) {
	f.Add([]byte(goodServer), []byte(goodGuest))
	f.Add([]byte("manager: redis\ntcp_ports: [1]"), []byte("mount_point: /x"))
	f.Add([]byte("a: &a [x]\nb: *a"), []byte("? a\n: b"))
	f.Add([]byte("---\n...\n"), []byte("%YAML 1.2\n--- |\n x"))
	f.Fuzz(func(t *testing.T, server, guest []byte) {
		_, options, err := strict.ReadVersion(server, guest)
		if err != nil {
			return
		}
		if _, again, err := strict.ReadVersion(server, options); err != nil || string(again) != string(options) {
			t.Errorf("%s is good, and then %s, %v", options, again, err)
		}
	})
}
