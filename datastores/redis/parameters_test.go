package redis

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// neverSettable are parameters that tenants must not set, and why.
func neverSettable() map[string]string {
	return map[string]string{
		`dir|dbfilename|appendfilename|appenddirname|aclfile|include`: "the server would read and write files of the tenant's choice",
		`logfile|crash-log-.*|syslog-.*|log-format|log-timestamp.*`:   "the guest reads the log, and it must not be written elsewhere",
		`pidfile|daemonize|supervised|set-proc-title|proc-title-.*`:   "the guest knows the server by its process",
		`unixsocket.*|port|bind.*|protected-mode|tls-.*|rdma-.*`:      "the server listens where it is told, and the guest comes by the socket",
		`user|requirepass|acl.*|hide-user-data.*`:                     "accounts are the guest's",
		`masterauth|masteruser|primaryauth|primaryuser`:               "they are the account on the source",
		`loadmodule|enable-.*|rename-command`:                         "they let tenants run programs, or take commands from the guest",
		`cluster-.*|replicaof|slaveof|replica-announce.*|slave-.*`:    "who follows whom is the control plane's",
		`replica-read-only|replica-ignore-.*`:                         "a replica has what its source has and nothing else",
		`repl-diskless.*|rdb-del-sync-files|dual-channel-.*`:          "a backup would leave a file behind, or wait",
		`databases`:        "the append-only log of a database that is not there any more is loaded into another one, without a word",
		`repl-backlog-ttl`: "positions are compared within one history",
		`save|appendonly|aof-use-rdb-preamble|aof-timestamp-.*`:                            "restart, resize and upgrade rely on the append-only log, and read nothing else",
		`shutdown-.*|always-show-logo|oom-score-adj.*|disable-thp`:                         "how the server lives and ends is the guest's",
		`maxmemory-clients|import-mode|rdb-version-check|.*cpulist`:                        "they end the guest's connections, or let data in that other servers refuse",
		`sanitize-dump-payload|propagation-error-behavior`:                                 "they let tenants crash the server with RESTORE",
		`locale-collate|ignore-warnings|socket-mark-id|client-output-buffer-limit replica`: "they reach outside the server, or cut replicas off",
	}
}

func TestDangerousParametersAreNotSettable(t *testing.T) {
	for names, why := range neverSettable() {
		re := regexp.MustCompile(`^(` + names + `)$`)
		for _, p := range table() {
			if re.MatchString(p.Name) {
				t.Errorf("%s can be set: %s", p.Name, why)
			}
		}
	}
	i := slices.IndexFunc(table(), func(p parameter) bool { return p.Name == "client-output-buffer-limit" })
	for _, bad := range []string{"replica 1 1 1", "slave 1 1 1", "normal 0 0 0 replica 1 1 1", "normal 0 0", "normal 0 0 0\nuser x on nopass", "normal 1 0 0", "normal 0 999999 1"} {
		if table()[i].Check(bad) == nil {
			t.Errorf("%q is allowed", bad)
		}
	}
}

// TestParametersAreWhatTheServerHas asks the server: each parameter is there, has that default, takes it, and needs a
// restart when the table says so.
func TestParametersAreWhatTheServerHas(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		m := started(t, o, datastores.PrepareRequest{})
		defaults := m.DefaultConfiguration()
		for _, p := range m.variant.parameters() {
			now := show(t, m, p.Name)
			if p.Name == "client-output-buffer-limit" {
				now = strings.Replace(now, "slave 268435456 67108864 60 ", "", 1)
			}
			if now != defaults[p.Name] {
				t.Errorf("%s is %q, the table says %q", p.Name, now, defaults[p.Name])
			}
			err := m.call(t.Context(), []string{"CONFIG", "SET", p.Name, now})
			immutable := err != nil && strings.Contains(err.Error(), "immutable")
			if immutable != p.RestartRequired || err != nil && !immutable {
				t.Errorf("%s needs a restart: %v; the server says %v", p.Name, p.RestartRequired, err)
			}
			for _, limit := range []json.Number{p.Min, p.Max} {
				if limit == "" || immutable || slices.Contains([]string{"maxmemory", "maxclients", "repl-backlog-size"}, p.Name) {
					continue // what takes memory, or depends on the machine
				}
				if err := m.call(t.Context(), []string{"CONFIG", "SET", p.Name, string(limit)}); err != nil {
					t.Errorf("%s = %s: %v", p.Name, limit, err)
				}
				must(t, m.call(t.Context(), []string{"CONFIG", "SET", p.Name, now}))
			}
			for _, v := range p.Values {
				if err := m.call(t.Context(), []string{"CONFIG", "SET", p.Name, v}); err != nil {
					t.Errorf("%s = %s: %v", p.Name, v, err)
				}
			}
		}
	})
}

// TestServerStartsWithEveryLimit: a tenant may set everything to its least, and to its most.
func TestServerStartsWithEveryLimit(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		m := started(t, o, datastores.PrepareRequest{})
		for name, limit := range map[string]func(parameter) json.Number{
			"least": func(p parameter) json.Number { return p.Min },
			"most":  func(p parameter) json.Number { return p.Max },
		} {
			values := datastores.Values{}
			for _, p := range m.variant.parameters() {
				switch v := limit(p); {
				case len(p.Values) > 0:
					values[p.Name] = p.Values[len(p.Values)-1]
				case v != "" && m.checkOverrides(datastores.Values{p.Name: v}) == nil:
					values[p.Name] = v
				}
			}
			must(t, m.CheckOverrides(t.Context(), values))
			must(t, m.Stop(t.Context()))
			_, err := m.UpdateOverrides(t.Context(), values)
			must(t, err)
			if err := m.Start(t.Context()); err != nil {
				t.Errorf("with the %s of all: %v", name, err)
			}
		}
	})
}

func wantKind(t *testing.T, what string, err error, kind datastores.ErrorKind) {
	t.Helper()
	var e *datastores.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("%s: %v, want %s", what, err, kind)
	}
}

func TestMemoryIsTheFlavors(t *testing.T) {
	m, ctx := running(t), t.Context()
	for _, bad := range []string{"0", "201326593", "1e9"} {
		_, err := m.UpdateOverrides(ctx, datastores.Values{"maxmemory": json.Number(bad)})
		wantKind(t, "maxmemory = "+bad, err, datastores.Invalid)
	}
	_, err := m.UpdateOverrides(ctx, datastores.Values{"maxmemory": json.Number("150000000")})
	must(t, err)
	if got := show(t, m, "maxmemory"); got != "150000000" {
		t.Errorf("maxmemory = %s", got)
	}
	must(t, m.Stop(ctx))
	m.env.MemoryMB = 100 // a smaller flavor
	must(t, m.Start(ctx))
	if got := show(t, m, "maxmemory"); got != "78643200" {
		t.Errorf("maxmemory = %s of 100 MB", got)
	}
}
