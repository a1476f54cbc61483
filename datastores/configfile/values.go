package configfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Bare is a value that TOML and YAML write without quotes: a number or a boolean.
type Bare string

var bare = regexp.MustCompile(`^(true|false|[+-]?[0-9]+(\.[0-9]+)?)$`)

// Value is one line of a TOML, YAML or key=value file. Value is a string, which is quoted where the format knows quotes, a [Bare], a
// bool or an int.
type Value struct {
	Name  string
	Value any
}

// Table is a [table] of a TOML file, or a mapping of a YAML file. "" is the top.
type Table struct {
	Name   string
	Values []Value
}

// Tables sorts values into tables: http.port is port of [http], and what has no dot is at the top. So a manager's own settings and
// the tenant's are one map.
func Tables(values map[string]any) []Table {
	byName := map[string][]Value{}
	for _, path := range slices.Sorted(maps.Keys(values)) {
		i := strings.LastIndexByte(path, '.')
		table := path[:max(i, 0)]
		byName[table] = append(byName[table], Value{path[i+1:], values[path]})
	}
	var all []Table
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, Table{name, byName[name]})
	}
	return all
}

var (
	valueName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	// keyName is a name of a key=value file, such as a Java property's.
	keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
)

// TOML writes a file as TOML 1.0 has it: every string is a basic string in quotes. Names are letters, digits, _ and - only;
// those of tables may have dots between such names.
func TOML(tables ...Table) ([]byte, error) {
	var b bytes.Buffer
	for i, t := range tables {
		if t.Name == "" && i > 0 {
			return nil, fmt.Errorf("table %d has no name: what has none comes first", i)
		}
		for part := range strings.SplitSeq(t.Name, ".") {
			if t.Name != "" && !valueName.MatchString(part) {
				return nil, fmt.Errorf("table %q: want letters, digits, _ and - only", t.Name)
			}
		}
		if t.Name != "" {
			fmt.Fprintf(&b, "[%s]\n", t.Name)
		}
		for _, v := range t.Values {
			text, err := quotedValue(t.Name, v)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "%s = %s\n", v.Name, text)
		}
	}
	return b.Bytes(), nil
}

// YAML writes a file as YAML 1.2 has it: every string is in double quotes, which make it JSON. Names are letters, digits, _ and -
// only. Mappings are one level deep.
func YAML(tables ...Table) ([]byte, error) {
	var b bytes.Buffer
	for _, t := range tables {
		indent := ""
		if t.Name != "" {
			if !valueName.MatchString(t.Name) {
				return nil, fmt.Errorf("mapping %q: want letters, digits, _ and - only", t.Name)
			}
			fmt.Fprintf(&b, "%s:\n", t.Name)
			indent = "  "
		}
		for _, v := range t.Values {
			text, err := quotedValue(t.Name, v)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "%s%s: %s\n", indent, v.Name, text)
		}
	}
	return b.Bytes(), nil
}

// KeyValue writes lines of name=value, as many servers and java.util.Properties read them. No such reader has quotes in common
// with another, so values are what needs none: printable ASCII without a backslash, not beginning or ending with a space, not
// beginning with # or !.
func KeyValue(values ...Value) ([]byte, error) {
	var b bytes.Buffer
	for _, v := range values {
		text := fmt.Sprint(v.Value)
		bad := func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }
		switch {
		case !keyName.MatchString(v.Name):
			return nil, fmt.Errorf("%q: want letters, digits and _ . - only", v.Name)
		case strings.ContainsFunc(text, bad) || strings.TrimSpace(text) != text || strings.HasPrefix(text, "#") || strings.HasPrefix(text, "!"):
			return nil, fmt.Errorf("%s: the value holds what a reader could take for something else", v.Name)
		}
		fmt.Fprintf(&b, "%s=%s\n", v.Name, text)
	}
	return b.Bytes(), nil
}

// quotedValue is a value as TOML and YAML both read it: what JSON escapes in a string, they escape so, too.
func quotedValue(table string, v Value) (string, error) {
	if !valueName.MatchString(v.Name) {
		return "", fmt.Errorf("[%s] %q: want letters, digits, _ and - only", table, v.Name)
	}
	switch value := v.Value.(type) {
	case Bare:
		if !bare.MatchString(string(value)) {
			return "", fmt.Errorf("[%s] %s: %q is neither a number nor a boolean", table, v.Name, string(value))
		}
		return string(value), nil
	case bool, int:
		return fmt.Sprint(value), nil
	case string:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(strings.ToValidUTF8(value, "�")); err != nil || strings.ToValidUTF8(value, "�") != value {
			return "", fmt.Errorf("[%s] %s: the value is not UTF-8", table, v.Name)
		}
		return strings.ReplaceAll(strings.TrimSpace(b.String()), "\x7f", `\u007f`), nil
	}
	return "", fmt.Errorf("[%s] %s: a %T is no string, Bare, bool or int", table, v.Name, v.Value)
}
