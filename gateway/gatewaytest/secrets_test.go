package gatewaytest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// testSecretsLife uses every secret that there is: of users and of root, given and made, at the create and later.
func testSecretsLife(t *testing.T, s *stage) {
	mariadb, redis := s.mariadbSecrets(t), s.redisSecrets(t)
	for _, id := range []string{mariadb, redis} {
		s.member.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(id)+"/action", `{"restart":{}}`)
		s.member.Await(t, id, "ACTIVE", lifeTimeout)
	}
	s.knowHomes(t)
	seen, found := s.filesWith(t, s.secrets, nothing)
	for _, l := range found {
		t.Errorf("%s holds %s", l.where, l.what)
	}
	for _, name := range []string{
		"identity.json", "journal", "guest.json", "guest.log", "state.json", "error.log", "redis.log", "redis.conf", "users.acl", "ibdata1", "ib_logfile0", "keys", "db",
	} {
		if !seen[name] {
			t.Errorf("there was no file %s to look at", name)
		}
	}
	lines := s.watcher.lines()
	for _, program := range []string{"coffer-gateway", "coffer-host", "mysql-guest", "redis-guest", "mariadbd", "redis-server"} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, program) }) {
			t.Errorf("no command line of %s was seen", program)
		}
	}
}

func (s *stage) mariadbSecrets(t *testing.T) (id string) {
	ann, bob, next, last := s.secrets.make("ann's password, of the create"), s.secrets.make("bob's password"),
		s.secrets.make("bob's next password"), s.secrets.make("bob's last password")
	_, id, address := s.create(t, mariadbStore, `,"databases":[{"name":"d"}],"users":[{"name":"ann","password":`+quoted(ann)+`,"databases":[{"name":"d"}]}]`)
	at := gatewaytest.Instance(id)
	connects := func(user, password string) {
		t.Helper()
		if err := openMySQL(t, address, user, password, "").Ping(); err != nil {
			t.Errorf("%s cannot connect: %v", user, err)
		}
	}
	connects("ann", ann)
	s.member.Want(t, http.StatusAccepted, http.MethodPost, at+"/users", `{"users":[{"name":"bob","password":`+quoted(bob)+`}]}`)
	connects("bob", bob)
	s.member.Want(t, http.StatusAccepted, http.MethodPut, at+"/users", `{"users":[{"name":"bob","password":`+quoted(next)+`}]}`)
	connects("bob", next)
	s.member.Want(t, http.StatusAccepted, http.MethodPut, at+"/users/bob", `{"user":{"password":`+quoted(last)+`}}`)
	connects("bob", last)

	refused := quoted(s.secrets.make("a password that was refused")) // is kept as little
	s.member.Want(t, http.StatusBadRequest, http.MethodPost, at+"/users", `{"users":[{"name":"bob","password":`+refused+`}]}`)
	s.member.Want(t, http.StatusBadRequest, http.MethodPost, at+"/users", `{"users":[{"name":"`+strings.Repeat("n", 99)+`","password":`+refused+`}]}`)
	s.member.Want(t, http.StatusBadRequest, http.MethodPost, at+"/users", `{"users":[{"name":"x","password":`+refused[:len(refused)-1]+`\n"}]}`)
	s.member.Want(t, http.StatusBadRequest, http.MethodPost, at+"/users", `{"users":[{"name":"x","password":[`+refused+`]}]}`)
	s.member.Want(t, http.StatusBadRequest, http.MethodPost, at+"/users", `{"users":[{"name":"x","password":`+refused+`,}]}`)
	s.member.Want(t, http.StatusNotFound, http.MethodPut, at+"/users/nobody", `{"user":{"password":`+refused+`}}`)

	made := s.member.Want(t, http.StatusOK, http.MethodPost, at+"/root", "").Text("user", "password")
	s.secrets.know("MariaDB's root password, made", made)
	connects("root", made)
	given := s.secrets.make("MariaDB's root password, given")
	s.member.Want(t, http.StatusOK, http.MethodPost, at+"/root", `{"password":`+quoted(given)+`}`)
	connects("root", given)
	return id
}

func (s *stage) redisSecrets(t *testing.T) (id string) {
	created, id, address := s.create(t, redisStore, "")
	connects := func(what, password string) {
		t.Helper()
		s.secrets.know("Redis's root password, "+what, password)
		if err := openRedis(t, address, password).Ping(t.Context()).Err(); err != nil {
			t.Errorf("nobody can connect with the password %s: %v", what, err)
		}
	}
	at := gatewaytest.Instance(id)
	connects("of the create", created.Text("instance", "password"))
	connects("made", s.member.Want(t, http.StatusOK, http.MethodPost, at+"/root", "").Text("user", "password"))
	given := s.secrets.make("")
	s.member.Want(t, http.StatusOK, http.MethodPost, at+"/root", `{"password":`+quoted(given)+`}`)
	connects("given", given)
	return id
}

// knowHomes enters the secrets of the gateway, of agents and guests, which have their place in a file of mode 0600.
func (s *stage) knowHomes(t *testing.T) {
	t.Helper()
	keys := s.machine.path("gateway/keys")
	text, err := os.ReadFile(keys)
	if fields := strings.Fields(string(text)); err != nil || len(fields) < 2 {
		t.Errorf("%s holds no key: %v", keys, err)
	} else {
		s.secrets.knowOf("the gateways' key", fields[len(fields)-1], keys)
	}
	for pattern, keys := range map[string][]string{
		"agent/identity.json":                   {"secret", "private_key"},
		"instances/*/guest/agent/identity.json": {"secret", "private_key"},
		"instances/*/sandbox/etc/guest.json":    {"token"},
		"instances/*/guest/*admin*.password":    nil,
	} {
		files, err := filepath.Glob(filepath.Join(s.machine.path("host"), pattern))
		if err != nil || len(files) == 0 {
			t.Errorf("there is no %s below %s: %v", pattern, s.machine.path("host"), err)
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				continue // of an instance that was deleted meanwhile
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %o", file, info.Mode().Perm())
			}
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			if keys == nil {
				s.secrets.knowOf("the password in "+file, string(text), file)
			}
			var fields map[string]any
			if keys != nil && json.Unmarshal(text, &fields) != nil {
				t.Errorf("%s is not JSON", file)
			}
			for _, key := range keys {
				s.secrets.knowOf("the "+key+" in "+file, fields[key].(string), file)
			}
		}
	}
}

// TestSearcher finds each form of a secret, wherever it stands.
func TestSearcher(t *testing.T) {
	l := newLedger()
	secret := l.make("mine")
	inJSON, err := json.Marshal(map[string]string{"password": secret})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		for _, text := range []string{secret, string(inJSON), fmt.Sprintf("%x", secret), base64.StdEncoding.EncodeToString(inJSON[i:]), base64.URLEncoding.EncodeToString(inJSON[i:])} {
			if found := l.searcher().in([]byte("before "[i:]+text+" behind"), ""); len(found) != 1 {
				t.Errorf("in %q: %q", text, found)
			}
		}
	}
	if found := l.searcher().in(bytes.Repeat([]byte(secret[1:]), 9), ""); len(found) > 0 {
		t.Errorf("found %q in what does not hold it", found)
	}
}
