package configfile

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

func TestTOML(t *testing.T) {
	got, err := TOML(
		Table{"", []Value{{"bind-address", "127.0.0.2:8088"}}},
		Table{"http", []Value{{"auth-enabled", Bare("true")}, {"realm", "a \"b\" \\ \n[x]\ny = 1\x7f"}}},
		Table{"data.cache", []Value{{"size", Bare("1024")}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := "bind-address = \"127.0.0.2:8088\"\n[http]\nauth-enabled = true\n" +
		`realm = "a \"b\" \\ \n[x]\ny = 1\u007f"` + "\n[data.cache]\nsize = 1024\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestKeyValue(t *testing.T) {
	got, err := KeyValue(Value{"log4j.level", "INFO"}, Value{"max_heap", Bare("512")}, Value{"empty", ""})
	if want := "log4j.level=INFO\nmax_heap=512\nempty=\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for _, v := range []Value{{"a", "b\nc=d"}, {"a=b", "c"}, {"a", ` b`}, {"a", `b\`}, {"a", "#"}, {"a", "é"}} {
		if got, err := KeyValue(v); err == nil {
			t.Errorf("%q was written as %q", v, got)
		}
	}
}

func TestValuesRefused(t *testing.T) {
	for name, tables := range map[string][]Table{
		"a table's name":     {{"a]\n[b", nil}},
		"no name, later":     {{"a", nil}, {"", nil}},
		"a value's name":     {{"a", []Value{{"x = 1\ny", "2"}}}},
		"a bare text":        {{"a", []Value{{"x", Bare("1\ny = 2")}}}},
		"something else":     {{"a", []Value{{"x", 1.5}}}},
		"a text not of UTF8": {{"a", []Value{{"x", "\xff"}}}},
	} {
		if got, err := TOML(tables...); err == nil {
			t.Errorf("TOML, %s: %q", name, got)
		}
		if got, err := YAML(tables...); err == nil && name != "no name, later" {
			t.Errorf("YAML, %s: %q", name, got)
		}
	}
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{"", "plain", "a: b", "\n- x\n", `"\`, "#", "é\u2028", "\x00", "{{"} {
		f.Add("name", s)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		out, err := YAML(Table{"top", []Value{{name, value}, {"last", Bare("1")}}})
		if err != nil || name == "last" {
			return
		}
		var got map[string]map[string]any
		if err := yaml.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		// A reader may know another word for a name, such as a number: one value beside "last" is what counts.
		if len(got) != 1 || len(got["top"]) != 2 {
			t.Fatalf("wrote %q, read %v", out, got)
		}
		for key, v := range got["top"] {
			if key != "last" && v != value {
				t.Errorf("wrote %q, read %q, want %q", out, v, value)
			}
		}
	})
}

func FuzzTOML(f *testing.F) {
	f.Add("name", "a\n[b]\n\"")
	f.Fuzz(func(t *testing.T, name, value string) {
		out, err := TOML(Table{"", []Value{{name, value}, {"last", Bare("1")}}})
		if err != nil {
			return
		}
		first, rest, _ := strings.Cut(string(out), "\n")
		if rest != "last = 1\n" {
			t.Fatalf("more than one line: %q", out)
		}
		var got string // a basic string of TOML, with these escapes, is a string of JSON
		if err := json.Unmarshal([]byte(strings.TrimPrefix(first, name+" = ")), &got); err != nil || got != value {
			t.Errorf("wrote %q, read %q, %v", first, got, err)
		}
	})
}

func TestTables(t *testing.T) {
	file, err := TOML(Tables(map[string]any{"http.port": 8086, "z": "last", "http.auth": true, "a.b.c": Bare("1.5"), "a": "first"})...)
	want := "a = \"first\"\nz = \"last\"\n[a.b]\nc = 1.5\n[http]\nauth = true\nport = 8086\n"
	if err != nil || string(file) != want {
		t.Errorf("%v\n%s, want\n%s", err, file, want)
	}
}
