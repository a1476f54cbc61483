package configfile

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestINI(t *testing.T) {
	got, err := INI(
		Section{"mysqld", []Setting{{"bind_address", "127.0.0.2"}, {"init_connect", "SET @a = '#\\'; -- \"x\"\n"}}},
		Section{"client", nil},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := "[mysqld]\nbind_address = \"127.0.0.2\"\ninit_connect = \"SET @a = '#\\\\'; -- \\\"x\\\"\\n\"\n[client]\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestRedis(t *testing.T) {
	got, err := Redis([]string{"bind", "127.0.0.2", "::1"}, []string{"save", ""}, []string{"dir", `/a b/"c`})
	if err != nil {
		t.Fatal(err)
	}
	want := "bind 127.0.0.2 ::1\nsave \"\"\ndir \"/a b/\\\"c\"\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestRefused(t *testing.T) {
	if _, err := INI(Section{"a]\n[b", nil}); err == nil {
		t.Error("a section's name can end the section")
	}
	if _, err := INI(Section{"a", []Setting{{"x = 1\ny", "2"}}}); err == nil {
		t.Error("a setting's name can hold another setting")
	}
	if _, err := INI(Section{"a", []Setting{{"x", strings.Repeat("y", 4096)}}}); err == nil {
		t.Error("a line that its reader would cut was written")
	}
	if _, err := Redis([]string{"dir /tmp\nsave", "1"}); err == nil {
		t.Error("a directive's name can hold another directive")
	}
	if _, err := Redis([]string{"dir"}); err == nil {
		t.Error("a directive without value was written")
	}
}

func FuzzINI(f *testing.F) {
	for _, s := range []string{"", "plain", `a"b'c\d#e;f`, "\n[client]\n", `\`, "é\t\r", "\x00"} {
		f.Add("name", s)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		b, err := INI(Section{"s", []Setting{{name, value}, {"last", "1"}}})
		if err != nil {
			return
		}
		want := []Setting{{name, value}, {"last", "1"}}
		got, err := readINI(string(b))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("wrote %q\nread %q, %v\nwant %q", b, got, err, want)
		}
	})
}

// readINI reads one section by MySQL's rules, for lines whose values are quoted.
func readINI(text string) ([]Setting, error) {
	var settings []Setting
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n")[1:] {
		name, rest, _ := strings.Cut(line, "=")
		rest = strings.TrimSpace(rest)
		if len(rest) < 2 || rest[0] != '"' {
			return nil, errors.New("not quoted: " + line)
		}
		var value strings.Builder
		i := 1
		for ; i < len(rest) && rest[i] != '"'; i++ {
			c := rest[i]
			if c == '\\' && i+1 < len(rest) {
				i++
				switch rest[i] {
				case 'n':
					c = '\n'
				case 't':
					c = '\t'
				case 'r':
					c = '\r'
				case '\\', '"':
					c = rest[i]
				default:
					return nil, errors.New("unknown escape: " + line)
				}
			}
			value.WriteByte(c)
		}
		if i != len(rest)-1 {
			return nil, errors.New("text after the value: " + line)
		}
		settings = append(settings, Setting{strings.TrimSpace(name), value.String()})
	}
	return settings, nil
}

func FuzzRedis(f *testing.F) {
	for _, s := range []string{"", "plain", `a "b" 'c' \d`, "\nsave 1 1\n", "#", "\xff\x01é", "\x00"} {
		f.Add("dir", s, "x y")
	}
	f.Fuzz(func(t *testing.T, name, a, b string) {
		out, err := Redis([]string{name, a, b}, []string{"last", "1"})
		if err != nil {
			return
		}
		first, rest, _ := strings.Cut(string(out), "\n")
		if rest != "last 1\n" {
			t.Fatalf("more than one line: %q", out)
		}
		if got, want := splitRedis(first), []string{name, a, b}; !slices.Equal(got, want) {
			t.Errorf("wrote %q, read %q, want %q", first, got, want)
		}
	})
}

// splitRedis splits a line as redis does: words by spaces, double quotes with \" \\ \xHH.
func splitRedis(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] != '"' {
			word, rest, _ := strings.Cut(line, " ")
			words, line = append(words, word), rest
			continue
		}
		var word []byte
		i := 1
		for ; i < len(line) && line[i] != '"'; i++ {
			c := line[i]
			if c == '\\' {
				i++
				c = line[i]
				if c == 'x' {
					n, _ := strconv.ParseUint(line[i+1:i+3], 16, 8)
					c = byte(n)
					i += 2
				}
			}
			word = append(word, c)
		}
		words, line = append(words, string(word)), line[min(i+1, len(line)):]
	}
	return words
}
