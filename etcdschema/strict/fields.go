package strict

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// fields fills the fields of a struct from the members of an object, each on its own: one bad value hides no other.
func (j *judge) fields(path string, all []member, into reflect.Value, stray func(name string) string) {
	seen := map[string]bool{}
	for _, m := range all {
		at := pathTo(path, m.name)
		if seen[m.name] {
			j.bad(at, "given twice")
		}
		seen[m.name] = true
		if field, ok := fieldNamed(into, m.name); ok {
			j.value(at, m.value, field)
		} else if message := stray(m.name); message != "" {
			j.bad(at, "%s", message)
		}
	}
}

// value fills one field, or an element of a list.
func (j *judge) value(path string, doc json.RawMessage, into reflect.Value) {
	if string(doc) == "null" {
		return // as if it had been left out
	}
	if _, ok := into.Addr().Interface().(json.Unmarshaler); ok {
		if err := json.Unmarshal(doc, into.Addr().Interface()); err != nil {
			j.bad(path, "%v", err)
		}
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		j.value(path, doc, into.Elem())
	case reflect.Struct:
		all, err := readMembers(doc)
		if err != nil {
			j.bad(path, "%v", err)
			return
		}
		j.fields(path, all, into, unknown(into.Type()))
	case reflect.Slice:
		j.list(path, doc, into)
	default:
		if err := json.Unmarshal(doc, into.Addr().Interface()); err != nil {
			j.bad(path, "is %s; want %s", kindOf(doc), wanted(into.Kind(), doc))
		}
	}
}

func (j *judge) list(path string, doc json.RawMessage, into reflect.Value) {
	var elements []json.RawMessage
	if err := json.Unmarshal(doc, &elements); err != nil {
		j.bad(path, "is %s; want a list", kindOf(doc))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(elements), len(elements)))
	for i, e := range elements {
		j.value(fmt.Sprintf("%s[%d]", path, i), e, into.Index(i))
	}
}

func pathTo(path, name string) string {
	if !pathRE.MatchString(name) {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// fieldNames returns the JSON names of a struct's fields, embedded ones included, in order.
func fieldNames(t reflect.Type) []string {
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if name := fieldName(f); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func fieldNamed(into reflect.Value, name string) (reflect.Value, bool) {
	for _, f := range reflect.VisibleFields(into.Type()) {
		if fieldName(f) == name {
			return into.FieldByIndex(f.Index), true
		}
	}
	return reflect.Value{}, false
}

// fieldName is "" for a field that JSON does not see.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if f.Anonymous || !f.IsExported() || name == "-" {
		return ""
	}
	return name
}

// unknown says of every name that it is not known, and which are.
func unknown(t reflect.Type) func(string) string {
	return func(string) string { return "unknown option; allowed: " + strings.Join(fieldNames(t), ", ") }
}

// kindOf says what a JSON value is.
func kindOf(doc []byte) string {
	switch strings.TrimLeft(string(doc), " \t\r\n")[:1] {
	case "{":
		return "an object"
	case "[":
		return "a list"
	case `"`:
		return "text"
	case "t", "f":
		return "a boolean"
	case "n":
		return "nothing"
	}
	return "a number"
}

// wanted says what a field takes.
func wanted(k reflect.Kind, have []byte) string {
	switch k {
	case reflect.String:
		if h := kindOf(have); h == "a number" || h == "a boolean" {
			return `text, in quotes`
		}
		return "text"
	case reflect.Bool:
		return "true or false"
	}
	return "a whole number"
}
