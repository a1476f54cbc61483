package configfile

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPostgreSQL(t *testing.T) {
	got, err := PostgreSQL(
		Setting{"listen_addresses", "127.0.0.2"}, Setting{"auto_explain.log_min_duration", "-1"}, Setting{"search_path", `"$user", o'brien\`},
		Setting{"log_line_prefix", "a\tb\n# "}, Setting{"application_name", ""},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := `listen_addresses = '127.0.0.2'
auto_explain.log_min_duration = '-1'
search_path = '"$user", o''brien\\'
log_line_prefix = 'a\tb\n# '
application_name = ''
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []Setting{
		{"include", "/etc/passwd"}, {"INCLUDE_DIR", "/etc"}, {"include_if_exists", "x"}, {"", "1"}, {"a b", "1"}, {"a\nb", "1"},
		{"a.b.c", "1"}, {"a'", "1"}, {"1a", "1"}, {"work_mem", "\x00"}, {"work_mem", "\x7f"},
	} {
		if got, err := PostgreSQL(bad); err == nil {
			t.Errorf("%q was written as %q", bad, got)
		}
	}
}

func FuzzPostgreSQL(f *testing.F) {
	for _, s := range []string{"", "plain", `o''b\'c\\`, "\nport = 1\n", `\047`, `\`, `'`, "é\t\r", "\x00", "\xff"} {
		f.Add("name", s)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		b, err := PostgreSQL(Setting{name, value}, Setting{"last", "1"})
		if err != nil {
			return
		}
		want := []Setting{{name, value}, {"last", "1"}}
		got, err := readPostgreSQL(string(b))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("wrote %q\nread %q, %v\nwant %q", b, got, err, want)
		}
	})
}

// readPostgreSQL reads by PostgreSQL's rules, for lines whose values are quoted.
func readPostgreSQL(text string) ([]Setting, error) {
	var settings []Setting
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		name, rest, _ := strings.Cut(line, " = ")
		if len(rest) < 2 || rest[0] != '\'' {
			return nil, errors.New("not quoted: " + line)
		}
		var value strings.Builder
		i := 1
		for ; i < len(rest); i++ {
			c := rest[i]
			if c == '\'' {
				if i+1 == len(rest) || rest[i+1] != '\'' {
					break
				}
				i++
			}
			if c == '\\' && i+1 < len(rest) {
				i++
				switch rest[i] {
				case 'b', 'f', '0', '1', '2', '3', '4', '5', '6', '7':
					return nil, errors.New("an escape that nobody wrote: " + line)
				case 'n':
					c = '\n'
				case 't':
					c = '\t'
				case 'r':
					c = '\r'
				default:
					c = rest[i]
				}
			}
			value.WriteByte(c)
		}
		if i != len(rest)-1 {
			return nil, errors.New("text after the value: " + line)
		}
		settings = append(settings, Setting{name, value.String()})
	}
	return settings, nil
}
