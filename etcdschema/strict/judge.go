// Package strict reads what operators write into etcd, JSON or YAML, and collects everything that is wrong with it. It needs no etcd.
package strict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Format is the number of the format of all values, their member "v".
const Format = 1

// OptionError is one thing that is wrong with a definition.
type OptionError struct {
	Half    string // "server" or "guest"; "" for a definition that has no halves
	Path    string // "tcp_ports[1]"; "" for the whole of it
	Message string // what is wrong, and what is allowed
}

func (e *OptionError) Error() string {
	text := e.Message
	if e.Path != "" {
		text = e.Path + ": " + text
	}
	if e.Half != "" {
		text = e.Half + " half: " + text
	}
	return text
}

// judge reads what an operator wrote, strictly, and collects everything that is wrong with it.
type judge struct {
	half  string
	found []error // of *OptionError
}

func (j *judge) bad(path, format string, args ...any) {
	j.found = append(j.found, &OptionError{Half: j.half, Path: path, Message: fmt.Sprintf(format, args...)})
}

// err is a *multierror.Error of *OptionError, or nil.
func (j *judge) err() error {
	if len(j.found) == 0 {
		return nil
	}
	return &multierror.Error{Errors: j.found, ErrorFormat: oneLine}
}

func oneLine(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Definition is a record that operators write: a pointer to a struct.
type Definition interface{ Problems() []error }

// read fills into, a pointer to a struct, and returns the members of value without the format number. stray says what is
// wrong with a name that is no field of it; "": nothing.
func (j *judge) read(value []byte, into Definition, stray func(name string) string) []member {
	all := j.members(value)
	j.fields("", all, reflect.ValueOf(into).Elem(), stray)
	for _, err := range into.Problems() {
		path, message := SplitPath(err.Error())
		if !j.blames(path) { // else it is a consequence
			j.bad(path, "%s", message)
		}
	}
	return all
}

// members reads the outermost object, and takes the format number out of it.
func (j *judge) members(value []byte) []member {
	doc, err := toJSON(value)
	if err != nil {
		j.bad("", "%v", err)
		return nil
	}
	all, err := readMembers(doc)
	if err != nil {
		j.bad("", "%v", err)
	}
	return slices.DeleteFunc(all, func(m member) bool {
		if m.name == "v" && string(m.value) != fmt.Sprint(Format) {
			j.bad("v", "format %s; this version of Coffer reads format %d", m.value, Format)
		}
		return m.name == "v"
	})
}

// blames reports whether something is wrong at path already, or with all of the value.
func (j *judge) blames(path string) bool {
	root, _, _ := strings.Cut(path, "[")
	return slices.ContainsFunc(j.found, func(err error) bool {
		have := err.(*OptionError).Path
		return have == "" || have == path || have == root
	})
}

// pathRE is what the errors of Problems begin with.
var pathRE = regexp.MustCompile(`^[a-z0-9_.\[\]]+$`)

// SplitPath divides what is wrong with an option into the option's path and the message; the path is "" when none is named.
func SplitPath(text string) (path, message string) {
	if path, message, ok := strings.Cut(text, ": "); ok && pathRE.MatchString(path) {
		return path, message
	}
	return "", text
}

// member is a name with its value; an object is read as a list of them, so that a name given twice is seen.
type member struct {
	name  string
	value json.RawMessage
}

func readMembers(doc []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("is %s; want an object", kindOf(doc))
	}
	var all []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return all, err
		}
		m := member{name: name.(string)}
		if err := d.Decode(&m.value); err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}

func writeMembers(all []member) json.RawMessage {
	out := []byte{'{'}
	for i, m := range all {
		if i > 0 {
			out = append(out, ',')
		}
		name, _ := json.Marshal(m.name) // a string always can
		out = append(append(append(out, name...), ':'), m.value...)
	}
	return append(out, '}')
}

// Options reads the options of a guest, which have no type here, without the format number.
func Options(value []byte) (json.RawMessage, error) {
	var j judge
	all := j.members(value)
	if err := j.err(); err != nil {
		return nil, err
	}
	return writeMembers(all), nil
}

// Decode reads a definition that stands alone.
func Decode(value []byte, into Definition) error {
	var j judge
	j.read(value, into, unknown(reflect.TypeOf(into).Elem()))
	return j.err()
}

// GuestProblems are what a guest finds wrong with its options, each as [SplitPath] takes it; nil when there are none.
func GuestProblems(texts []string) error {
	j := judge{half: "guest"}
	for _, text := range texts {
		path, message := SplitPath(text)
		j.bad(path, "%s", message)
	}
	return j.err()
}
