package etcdschema_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/etcdschema"
)

var update = flag.Bool("update", false, "write docs/schema.md instead of comparing it")

func TestSchemaDocument(t *testing.T) {
	const file = "../docs/schema.md"
	want := schemaDocument()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is not what Keys says; write it anew with: go test ./etcdschema -run TestSchemaDocument -update", file)
	}
}

func schemaDocument() string {
	var b strings.Builder
	b.WriteString(`# What is in etcd

<!-- Generated from etcdschema.Keys by a test: go test ./etcdschema -run TestSchemaDocument -update -->

` + "`*`" + ` is a variable part: a UUID, or a name of ` + "`[a-z0-9][a-z0-9._-]{0,62}`" + `. Values are JSON objects with a format number,
` + "`\"v\": 1`" + `, of at most 512 KiB; operators may write YAML and leave the number out. What lies under ` + "`/server/`" + ` is never told to
an agent. A record with a lease vanishes some time after it, at most twice as late; one of a session vanishes when its
gateway ends.

| key | record | writer | lease | what it is |
|---|---|---|---|---|
`)
	for _, k := range etcdschema.Keys() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Pattern, k.Record, k.Writer, k.Lease, k.Doc)
	}
	return b.String()
}

// builders are all that make a key of two parts that anybody may choose.
var builders = map[string]func(a, b string) (key string, err error){
	"version": func(a, b string) (string, error) { return built(etcdschema.VersionKey(a, b)) },
	"guest":   func(a, b string) (string, error) { return built(etcdschema.GuestOptionsKey(a, b)) },
	"instance": func(a, b string) (string, error) {
		return built(etcdschema.InstanceKey(a, b))
	},
	"command": func(a, b string) (string, error) { return built(etcdschema.CommandKey(a, b)) },
	"quota":   func(a, _ string) (string, error) { return built(etcdschema.QuotaKey(a)) },
	"flavor":  func(a, _ string) (string, error) { return built(etcdschema.FlavorKey(a)) },
	"agent":   func(a, _ string) (string, error) { return built(etcdschema.AgentKey(a)) },
	"enrolment": func(a, _ string) (string, error) {
		return built(etcdschema.EnrolmentKey(a))
	},
}

func built[T any](k etcdschema.Key[T]) (string, error) { return k.String(), etcdschema.KeyErr(k) }

// No part escapes its place: a key has as many parts as its pattern, whatever it is built from, or is refused.
func TestNoPartEscapes(t *testing.T) {
	part := rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[a-z0-9./_-]{0,70}`),
		rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,62}`),
		rapid.Just(uuid.NewString()),
		rapid.Just("{"+uuid.NewString()+"}"),
		rapid.Just(".."),
		rapid.Just("a\x00b"),
	)
	for name, build := range builders {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			a, b := part.Draw(t, "a"), part.Draw(t, "b")
			key, err := build(a, b)
			if bad := (*etcdschema.ErrBadKey)(nil); errors.As(err, &bad) {
				if key != "" || bad.Value == "" && a != "" && b != "" {
					t.Fatalf("%q of %q, %q with error %v", key, a, b, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%q, %q: the error is a %T", a, b, err)
			}
			matches := 0
			for _, k := range etcdschema.Keys() {
				if matchesPattern(k.Pattern, key) {
					matches++
				}
			}
			if matches != 1 {
				t.Fatalf("%q of %q, %q is of %d patterns", key, a, b, matches)
			}
		}))
	}
}

func matchesPattern(pattern, key string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(key, "/")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && want[i] != "*" || have[i] == "" && i > 0 {
			return false
		}
	}
	return true
}

func FuzzParseKey(f *testing.F) {
	id := "01234567-89ab-7cde-8f01-23456789abcd"
	for _, k := range etcdschema.Keys() {
		f.Add(strings.ReplaceAll(k.Pattern, "*", id))
	}
	f.Add("/guest/commands//")
	f.Fuzz(func(t *testing.T, key string) {
		again := key
		if agent, id, ok := etcdschema.ParseCommandKey(key); ok {
			again = etcdschema.CommandKey(agent, id).String()
		}
		if id, ok := etcdschema.ParseResultKey(key); ok {
			again = etcdschema.ResultKey(id).String()
		}
		if id, ok := etcdschema.ParseAgentKey(key); ok {
			again = etcdschema.AgentKey(id).String()
		}
		if id, ok := etcdschema.ParsePresenceKey(key); ok {
			again = etcdschema.PresenceKey(id).String()
		}
		if id, ok := etcdschema.ParseHostKey(key); ok {
			again = etcdschema.HostKey(id).String()
		}
		if project, id, ok := etcdschema.ParseInstanceKey(key); ok {
			again = etcdschema.InstanceKey(project, id).String()
		}
		if again != key {
			t.Errorf("%q is parsed and built again as %q", key, again)
		}
	})
}

func TestParseKeys(t *testing.T) {
	agent, id := uuid.NewString(), uuid.NewString()
	if a, c, ok := etcdschema.ParseCommandKey(etcdschema.CommandKey(agent, id).String()); !ok || a != agent || c != id {
		t.Errorf("command key: %q %q %v", a, c, ok)
	}
	if _, ok := etcdschema.ParseResultKey(etcdschema.AgentKey(id).String()); ok {
		t.Error("an agent's key passes as a result's")
	}
}

// TestNamesAreOfThePattern draws names around the edges of the pattern that docs name.
func TestNamesAreOfThePattern(t *testing.T) {
	pattern := regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	names := rapid.OneOf(rapid.StringMatching(`[a-z0-9._/A~-]{0,3}`), rapid.StringMatching(`[a-z0-9][a-z0-9._-]{61,63}`), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		if name := names.Draw(t, "name"); etcdschema.ValidName(name) != pattern.MatchString(name) {
			t.Fatalf("%q: %t, want %t", name, etcdschema.ValidName(name), pattern.MatchString(name))
		}
	})
}
