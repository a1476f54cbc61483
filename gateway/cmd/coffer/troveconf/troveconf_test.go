package troveconf

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	var c Conf
	c.Read("a.conf", []byte(`# comment
[DEFAULT]
debug=True
with-dashes : x = y
url = http://host:80
; comment
[MySQL]
quoted = "a b"
half = "a", "b"
long = 1,
    2,  # no comment

    3
empty =
again = 1
again: 2
`))
	got := []string{}
	for _, e := range c.Entries {
		got = append(got, fmt.Sprintf("%d+%d %s.%s=%q", e.Line, e.Lines, e.Group, e.Name, e.Value))
	}
	want := []string{
		`3+1 DEFAULT.debug="True"`, `4+1 DEFAULT.with_dashes="x = y"`, `5+1 DEFAULT.url="http://host:80"`,
		`8+1 mysql.quoted="a b"`, `9+1 mysql.half="\"a\", \"b\""`, `10+2 mysql.long="1,\n2,  # no comment"`,
		`14+1 mysql.empty=""`, `15+1 mysql.again="1"`, `16+1 mysql.again="2"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if len(c.Problems) != 1 || c.Problems[0].Place != (Place{"a.conf", 13}) {
		t.Errorf("problems %v; want one of the line after the empty one", c.Problems)
	}
	if e, ok := c.Last("mysql", "again"); !ok || e.Value != "2" {
		t.Errorf("the last value is %q", e.Value)
	}
}

func TestReadWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1":                  "stands below no group",
		"[mysql\na = 1":          "is no group",
		"[]":                     "is no group",
		"[x]\nnothing":           "want name = value",
		"[x]\n= 1":               "name is missing",
		"[x]\n\n  continued":     "continues no value",
		"[x]\npassword secret\n": "want name = value",
	} {
		var c Conf
		c.Read("f", []byte(text))
		if len(c.Problems) == 0 || !strings.Contains(c.Problems[0].Error(), want) {
			t.Errorf("%q: problems %v; want one with %q", text, c.Problems, want)
		}
		if strings.Contains(fmt.Sprint(c.Problems), "secret") {
			t.Errorf("%q: a value is in %v", text, c.Problems)
		}
	}
}

func TestExpand(t *testing.T) {
	var c Conf
	c.Read("f", []byte(`[DEFAULT]
home = /srv
price = 5$$ or 5\$
[mysql]
data = $home/data
dotted = $data.
other = ${redis.mount-point}:${DEFAULT.home}
missing = $nowhere
missing_too = ${redis.nothing}
round = $about
about = $round
lonely = 1$
[redis]
mount_point = ${home}/redis
`))
	for name, want := range map[string]string{
		"data": "/srv/data", "dotted": "/srv/data.", "other": "/srv/redis:/srv", "lonely": "1$",
		"missing": "!$nowhere", "missing_too": "!${redis.nothing}", "round": "!refers to itself",
	} {
		e, _ := c.Last("mysql", name)
		got, err := c.Expand(e)
		if message, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), message) {
				t.Errorf("%s: %q, %v; want an error with %q", name, got, err, message)
			}
		} else if got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := c.Expand(c.Entries[1]); got != "5$ or 5$" || err != nil {
		t.Errorf("dollars: %q, %v", got, err)
	}
}

func TestExpandStaysSmall(t *testing.T) {
	text := "[x]\na0 = 0123456789\n"
	for i := range 40 {
		text += fmt.Sprintf("a%d = $a%d$a%d\n", i+1, i, i)
	}
	var c Conf
	c.Read("f", []byte(text+"e0=\n"+strings.ReplaceAll(text[len("[x]\na0 = 0123456789\n"):], "a", "e")))
	for _, name := range []string{"a40", "e40"} {
		e, _ := c.Last("x", name)
		if _, err := c.Expand(e); err == nil || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("%s: a value that doubles 40 times: %v", name, err)
		}
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		value string
		want  []string
	}{
		{"", []string{}}, {"a", []string{"a"}}, {"a, b,", []string{"a", "b"}}, {"[a,\nb]", []string{"a", "b"}}, {`"a", 'b'`, []string{"a", "b"}},
	} {
		if got := List(c.value); !reflect.DeepEqual(got, c.want) {
			t.Errorf("List(%q) = %q", c.value, got)
		}
	}
	for _, text := range []string{"a:x.y.Z,b: q", "{a: x.y.Z,\nb:q,}", "{a: 'x.y.Z', 'b': q}"} {
		got, err := Dict(text)
		if want := []Pair{{"a", "x.y.Z"}, {"b", "q"}}; err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Dict(%q) = %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"{a:b", "a", "a:", ":b"} {
		if got, err := Dict(text); err == nil {
			t.Errorf("Dict(%q) = %q", text, got)
		}
	}
	for text, want := range map[string]bool{"True": true, "yes": true, "ON": true, "1": true, "false": false, "0": false, "no": false, "Off": false} {
		if got, err := Bool(text); got != want || err != nil {
			t.Errorf("Bool(%q) = %v, %v", text, got, err)
		}
	}
	if _, err := Bool("maybe"); err == nil {
		t.Error("maybe is a boolean")
	}
	if n, err := Int(" 7 "); n != 7 || err != nil {
		t.Errorf("Int: %d, %v", n, err)
	}
	if _, err := Int("7.5"); err == nil {
		t.Error("7.5 is a whole number")
	}
}

// FuzzRead: every line is a comment, empty, a group, part of an option, or told.
func FuzzRead(f *testing.F) {
	f.Add("[DEFAULT]\na = b\n  c\n# d\n[x]\ny: $a ${x.y} $$ {a: b,}\n")
	f.Add("a\n b\n[\n[]\n= 1\n\n c\n\t# d\n")
	f.Add("[x]\r\na=\"'\r\n \rb\x00\xff\n")
	f.Fuzz(func(t *testing.T, text string) {
		var c Conf
		c.Read("f", []byte(text))
		told := map[int]bool{}
		for _, e := range c.Entries {
			for i := range e.Lines {
				told[e.Line+i] = true
			}
			if value, err := c.Expand(e); err == nil {
				List(value)
				_, _ = Dict(value)
			}
		}
		for _, g := range c.Groups {
			told[g.Line] = true
		}
		for _, p := range c.Problems {
			told[p.Line] = true
		}
		for i, line := range strings.SplitAfter(text, "\n") {
			line = strings.TrimSpace(strings.ToValidUTF8(line, "?"))
			if line != "" && line[0] != '#' && line[0] != ';' && !told[i+1] {
				t.Fatalf("line %d, %q, is nowhere", i+1, line)
			}
		}
	})
}
