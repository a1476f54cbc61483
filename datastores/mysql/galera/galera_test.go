package galera

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

const history = "6b2bd6f2-cd13-11f0-8f3c-6e0a3c1f0d51"

func TestParseState(t *testing.T) {
	const file = "# GALERA saved state\nversion: 2.1\nuuid:    " + history + "\nseqno:   "
	for name, c := range map[string]struct {
		file              string
		known, lost, last bool
	}{
		"none":                 {"", false, false, false},
		"stopped":              {file + "17\nsafe_to_bootstrap: 0\n", true, false, false},
		"stopped as the last":  {file + "17\nsafe_to_bootstrap: 1\n", true, false, true},
		"crashed":              {file + "-1\nsafe_to_bootstrap: 0\n", false, true, false},
		"half copied":          {strings.Replace(file, history, none.History, 1) + "-1\nsafe_to_bootstrap: 0\n", false, false, false},
		"before anything came": {file + "0\nsafe_to_bootstrap: 0\n", true, false, false},
	} {
		s, err := ParseState([]byte(c.file))
		if err != nil || s.Position.Known() != c.known || s.Position.Lost() != c.lost || s.Founds != c.last {
			t.Errorf("%s: %+v, known %t, lost %t (%v)", name, s, s.Position.Known(), s.Position.Lost(), err)
		}
	}
	if _, err := ParseState([]byte("seqno: many")); err == nil {
		t.Error("a number that is none is read")
	}
}

func TestRecovered(t *testing.T) {
	var r Recovered
	if _, err := r.Position(); err == nil {
		t.Error("a server that said nothing has a position")
	}
	for _, part := range []string{"2026-11-29 10:47:28 0 [Note] WSREP: Recov", "ered position: " + history + ":1234\n", strings.Repeat("x", 2<<20)} {
		if n, err := r.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("%d of %d bytes taken (%v)", n, len(part), err)
		}
	}
	if p, err := r.Position(); err != nil || p.String() != history+":1234" {
		t.Errorf("position %v (%v)", p, err)
	}
}

func TestHasLost(t *testing.T) {
	view := func(members ...string) string {
		return "my_uuid: a\nview_id: 3 a 25\nmember: " + strings.Join(members, " 0\nmember: ") + " 0\n#vwend\n"
	}
	for _, c := range []struct {
		view, before string
		lost         bool
	}{
		{view("a", "c"), view("a", "b", "c"), true},
		{view("a", "b", "c"), view("a", "b", "c"), false},
		{view("a", "d"), view("a", "b", "c"), false},
		{view("a", "b", "c"), view("a", "b"), false},
		{view("a"), "", false},
	} {
		if got := HasLost(c.view, c.before); got != c.lost {
			t.Errorf("%q after %q: %t", c.view, c.before, got)
		}
	}
}

func TestTrouble(t *testing.T) {
	well := map[string]string{
		"wsrep_cluster_status": "Primary", "wsrep_ready": "ON", "wsrep_local_state_comment": "Synced", "wsrep_cluster_size": "2",
		"wsrep_incoming_addresses": "10.0.0.3:3306,10.0.0.2:3306,AUTO",
	}
	if s := ReadStatus(well); s.Trouble() != "" || !slices.Equal(s.Addresses, []string{"10.0.0.2", "10.0.0.3"}) {
		t.Errorf("%+v: %s", s, s.Trouble())
	}
	for name, value := range map[string]string{"wsrep_cluster_status": "non-Primary", "wsrep_ready": "OFF", "wsrep_local_state_comment": "Joining: receiving State Transfer"} {
		was := well[name]
		if well[name] = value; ReadStatus(well).Trouble() == "" {
			t.Errorf("a server whose %s is %s has no trouble", name, value)
		}
		well[name] = was
	}
	well["wsrep_local_state_comment"] = "Donor/Desynced"
	if trouble := ReadStatus(well).Trouble(); trouble != "" {
		t.Errorf("a server that is copied: %s", trouble)
	}
}

func TestSettings(t *testing.T) {
	m := Member{Cluster: "01a226de-c9c0-75b2-8b41-7bb9049d4526", Address: "10.0.0.2", Addresses: []string{"10.0.0.3"}, Port: 3306, Password: datastores.NewSecret("x")}
	of := func(settings []configfile.Setting, name string) string {
		for _, s := range settings {
			if s.Name == name {
				return s.Value
			}
		}
		return "none"
	}
	if got := of(m.Settings(), "wsrep_cluster_name"); len(got) > 32 {
		t.Errorf("the cluster's name has %d characters", len(got))
	}
	if got := of(m.Settings(), "wsrep_start_position") + of(m.Settings(), "wsrep_cluster_address"); got != "nonegcomm://10.0.0.3" {
		t.Error(got)
	}
	if strings.Contains(of(m.Settings(), "wsrep_provider_options"), "ssl") || of(m.Copying().Settings, "encrypt") != "none" {
		t.Error("a server without certificate is told to use it")
	}
	m.TLS = datastores.ServerTLS{Mode: datastores.TLSBasic, Dir: "/tls"}
	if options := of(m.Settings(), "wsrep_provider_options"); !strings.Contains(options, "listen_addr=ssl://10.0.0.2:4567;") || !strings.Contains(options, "ssl_ca=/tls/") {
		t.Error(options)
	}
	if got := of(m.Copying().Settings, "ssl_mode"); got != "VERIFY_CA" {
		t.Errorf("copies are made with %s", got)
	}
}
