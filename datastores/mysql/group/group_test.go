package group

import (
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

const (
	cluster = "6b2bd6f2-cd13-11f0-8f3c-6e0a3c1f0d51"
	other   = "01a226de-c9c0-75b2-8b41-7bb9049d4526"
)

func working(has string) Status {
	return Status{Cluster: cluster, State: "ONLINE", Together: []string{"10.0.0.2", "10.0.0.3", "10.0.0.4"}, Online: 2, Reached: 2, Has: has}
}

func outside(has string) Status {
	return Status{Cluster: cluster, State: "OFFLINE", Together: []string{""}, Has: has}
}

// TestFind: whoever would begin anew with less, or beside others that may go on, waits.
func TestFind(t *testing.T) {
	stuck := working("u:1-9")
	stuck.Reached = 1
	elsewhere := working("u:1-9")
	elsewhere.Cluster = other
	strange := outside("u:1-2")
	strange.Cluster = ""
	seen := func(s Status) Seen { return Seen{Address: "10.0.0.3", Status: s} }
	unheard := Seen{Address: "10.0.0.4", Err: datastores.Errorf(datastores.Unavailable, "no answer")}
	self := Seen{Address: "10.0.0.2", Status: outside("u:1-5")}
	for name, c := range map[string]struct {
		others []Seen
		join   string
		found  bool
		wait   string
	}{
		"nobody else":                       {nil, "", true, ""},
		"one works":                         {[]Seen{unheard, seen(working("u:1-3"))}, "10.0.0.3", false, ""},
		"one of another cluster":            {[]Seen{seen(elsewhere)}, "", false, "not yet in it"},
		"one that is in no cluster":         {[]Seen{seen(strange)}, "", false, "not yet in it"},
		"one is with too few":               {[]Seen{seen(stuck)}, "", false, "has given up"},
		"one has less":                      {[]Seen{seen(outside("u:1-4"))}, "", true, ""},
		"one has as much, and comes after":  {[]Seen{seen(outside("u:1-5"))}, "", true, ""},
		"one has as much, and comes before": {[]Seen{{Address: "10.0.0.1", Status: outside("u:1-5")}}, "", false, "10.0.0.1"},
		"one has more":                      {[]Seen{seen(outside("u:1-5,v:1"))}, "", false, "6 transactions"},
		"one does not answer":               {[]Seen{seen(outside("u:1-4")), unheard}, "", false, "10.0.0.4 does not answer"},
	} {
		p := Find(self, c.others)
		if strings.Join(p.Join, ",") != c.join || p.Found != c.found || (p.Wait == "") != (c.wait == "") || !strings.Contains(p.Wait, c.wait) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestTrouble(t *testing.T) {
	if trouble := working("").Trouble(); trouble != "" {
		t.Errorf("a member that works: %s", trouble)
	}
	for name, change := range map[string]func(*Status){
		"it is outside":       func(s *Status) { s.State = "ERROR" },
		"it is with too few":  func(s *Status) { s.Reached = 1 },
		"it has not all":      func(s *Status) { s.State = "RECOVERING" },
		"clients do not come": func(s *Status) { s.Closed = true },
	} {
		s := working("")
		if change(&s); s.Trouble() == "" {
			t.Errorf("%s, and has no trouble", name)
		}
	}
	half := working("")
	half.Together = half.Together[:2]
	half.Reached = 1
	if half.Works() {
		t.Error("one of two works")
	}
}

func TestSettings(t *testing.T) {
	of := func(m Member) (all string) {
		for _, s := range m.Settings() {
			all += s.Name + "=" + s.Value + "\n"
		}
		return all
	}
	m := Member{Cluster: cluster, Address: "10.0.0.2", Port: 3306}
	if plain := of(m); strings.Contains(plain, "ssl") || !strings.Contains(plain, "local_address=10.0.0.2:3306\n") || !strings.Contains(plain, "read_only=ON\n") {
		t.Error(plain)
	}
	m.TLS = datastores.ServerTLS{Mode: datastores.TLSBasic, Dir: "/tls"}
	if secure := of(m); !strings.Contains(secure, "ssl_mode=VERIFY_IDENTITY\n") || !strings.Contains(secure, "recovery_ssl_ca=/tls/") {
		t.Error(secure)
	}
}
