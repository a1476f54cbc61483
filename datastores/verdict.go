package datastores

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Opinion is what a guest binary says of a definition's guest half when it is asked with `check`. It has not looked at any machine.
type Opinion struct {
	// Problems are everything that is wrong with the options, each "path: message". When there are any, the rest is empty.
	Problems []string `json:"problems,omitempty"`
	Program  Program  `json:"program,omitzero"`   // that a machine must have
	Packages []string `json:"packages,omitempty"` // of Debian, that it must have or get
}

// Verdict is what a host says of a definition's guest half, after its guest binary. The zero Verdict is good.
type Verdict struct {
	// Problems are everything that is wrong with the options, each "path: message".
	Problems []string `json:"problems,omitempty"`
	// Unable says why this machine cannot serve options that are good. A tenant may read it.
	Unable string `json:"unable,omitempty"`
}

// Good reports whether the machine can serve the definition.
func (v Verdict) Good() bool { return len(v.Problems) == 0 && v.Unable == "" }

// Program is the server's program on a machine that can serve.
type Program struct {
	Path    string `json:"path"`              // absolute
	Version string `json:"version,omitempty"` // how its version begins, in whole numbers: 10.11 takes 10.11.6; "": any
}

// ProgramOptions is implemented by an [Options] that names the server's program: then it is known of a machine whether it
// can serve. The first of the options' packages is the one that brings the program.
type ProgramOptions interface {
	ServerProgram() Program
}

// Problems returns everything that is wrong with options, the JSON of a definition's guest half; each error begins with
// the path of its option.
func (p Plugin) Problems(options []byte) []error { return p.problems(options) }

// Program is what options say of the server's program; the zero Program when the plug-in does not tell.
func (p Plugin) Program(options []byte) Program { return p.program(options) }

// fill sets in o, an options struct with the defaults, what raw says, option by option: one that is wrong hides no other.
func fill[O Options](o *O, raw []byte) []error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return []error{fmt.Errorf("want an object: %w", err)}
	}
	known := map[string]OptionDoc{}
	for _, d := range optionDocs(*o) {
		known[d.Name] = d
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(members)) {
		d, ok := known[name]
		if !ok {
			problems = append(problems, fmt.Errorf("%s: unknown option; allowed: %s", plain(name), strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
			continue
		}
		one, err := json.Marshal(map[string]json.RawMessage{name: members[name]})
		if err == nil {
			err = json.Unmarshal(one, o)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: want %s %s", name, article(d.Type), d.Type))
		}
	}
	return problems
}

var plainOption = regexp.MustCompile(`^[a-z0-9_]+$`)

func plain(name string) string {
	if plainOption.MatchString(name) {
		return name
	}
	return fmt.Sprintf("%q", name)
}

func article(noun string) string {
	if strings.ContainsAny(noun[:1], "aeiou") {
		return "an"
	}
	return "a"
}
