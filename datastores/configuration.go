package datastores

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
)

// Configuration is implemented by a manager of which tenants may set parameters.
type Configuration interface {
	// Parameters returns what may be set, by name, for the version that the options speak of. The Env may be the zero one.
	// What could take the server from its guest, or have it read, write or run files of the tenant's choice, must not be
	// among them.
	Parameters() []Parameter
	// DefaultConfiguration returns the configuration of a server without overrides, name to text, for Env.MemoryMB.
	DefaultConfiguration() map[string]string
	// UpdateOverrides stores values, which Parameters allow, for this and every later start, in place of all that were
	// stored before, and makes a running server use them as far as it can without a restart: what is set and what is not
	// set any more. restart reports whether it still runs with something else; that is judged by the running server, since
	// an earlier call may have been cut half way. A stopped server is left so.
	UpdateOverrides(ctx context.Context, values Values) (restart bool, err error)
}

// OverridesChecker is implemented by a manager that can find out whether a server would start with values, without touching
// the one it manages.
type OverridesChecker interface {
	// CheckOverrides returns an [Error] of kind Invalid, which says why, when no server starts with values in an instance of
	// Env's size: a value contradicts another one, takes more memory than there is, or is refused by the program. It may
	// start the program in an empty directory of its own, for seconds at most. It must leave the instance's server, data and
	// ports alone, and nothing behind. Another error means that it could not find out. nil is no promise: the guest runtime
	// falls back when a start fails.
	CheckOverrides(ctx context.Context, values Values) error
}

// Values are the values of parameters, by name: string, bool or json.Number.
type Values map[string]any

// UnmarshalJSON keeps numbers as they are written.
func (v *Values) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return err
	}
	*v = m
	return nil
}

// ParameterType is the type of a parameter's value, in Trove's words.
type ParameterType string

const (
	IntegerParameter ParameterType = "integer"
	FloatParameter   ParameterType = "float"
	BooleanParameter ParameterType = "boolean"
	StringParameter  ParameterType = "string"
	// DurationParameter is beyond Trove, to whose clients it is a string: text such as 90s, 1h30m or 250ms.
	DurationParameter ParameterType = "duration"
)

// Parameter is one parameter that tenants may set.
type Parameter struct {
	Name            string        `json:"name"`
	Type            ParameterType `json:"type"`
	RestartRequired bool          `json:"restart_required,omitempty"`
	// CreateOnly marks what fixes the format of the data: an instance keeps the value that it was created with.
	CreateOnly bool        `json:"create_only,omitempty"`
	Min        json.Number `json:"min,omitempty"` // of a number, or of a duration in seconds; "": no limit
	Max        json.Number `json:"max,omitempty"`
	Values     []string    `json:"values,omitempty"`  // of a string: the only ones; none: any
	Pattern    string      `json:"pattern,omitempty"` // of a string: RE2 that the whole of it must match
}

// Check tells what is wrong with a value of the parameter.
func (p Parameter) Check(value any) error {
	switch v := value.(type) {
	case bool:
		if p.Type == BooleanParameter {
			return nil
		}
	case string:
		switch p.Type {
		case StringParameter:
			return p.checkText(v)
		case DurationParameter:
			return p.checkDuration(v)
		}
	case json.Number:
		if p.Type == IntegerParameter || p.Type == FloatParameter {
			return p.checkNumber(v)
		}
	}
	return fmt.Errorf("%s: %v is not of type %s", p.Name, value, p.Type)
}

func (p Parameter) checkText(v string) error {
	switch {
	case len(p.Values) > 0 && !slices.Contains(p.Values, v):
		return fmt.Errorf("%s: %q is not one of %s", p.Name, v, strings.Join(p.Values, ", "))
	case p.Pattern != "" && !wholly(p.Pattern, v):
		return fmt.Errorf("%s: %q does not match %s", p.Name, v, p.Pattern)
	case len(v) > 1024 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%s: want at most 1024 bytes without control characters", p.Name)
	}
	return nil
}

func (p Parameter) checkNumber(v json.Number) error {
	n, ok := rational(v)
	if !ok || p.Type == IntegerParameter && strings.Contains(string(v), ".") {
		return fmt.Errorf("%s: %s is not of type %s", p.Name, v, p.Type)
	}
	return p.checkLimits(n, string(v), "")
}

// checkDuration takes what [time.ParseDuration] does.
func (p Parameter) checkDuration(v string) error {
	d, err := time.ParseDuration(v)
	if err != nil || len(v) > 40 {
		return fmt.Errorf("%s: %q is no duration; want text such as 90s, 1h30m or 250ms", p.Name, v)
	}
	return p.checkLimits(big.NewRat(int64(d), int64(time.Second)), v, "s")
}

func (p Parameter) checkLimits(n *big.Rat, text, unit string) error {
	if least, ok := rational(p.Min); ok && n.Cmp(least) < 0 {
		return fmt.Errorf("%s: %s is less than %s%s", p.Name, text, p.Min, unit)
	}
	if most, ok := rational(p.Max); ok && n.Cmp(most) > 0 {
		return fmt.Errorf("%s: %s is more than %s%s", p.Name, text, p.Max, unit)
	}
	return nil
}

// rational reads a number exactly: limits go up to 2^64-1. An exponent is refused, for it may stand for gigabytes of digits.
func rational(v json.Number) (*big.Rat, bool) {
	if len(v) > 40 || strings.ContainsAny(string(v), "eE/") {
		return nil, false
	}
	return new(big.Rat).SetString(string(v))
}

// CheckValues tells everything that is wrong with values, by name.
func CheckValues(parameters []Parameter, values Values) []error {
	var problems []error
	for _, name := range sortedNames(values) {
		i := slices.IndexFunc(parameters, func(p Parameter) bool { return p.Name == name })
		if i < 0 {
			problems = append(problems, fmt.Errorf("%s: there is no such parameter", name))
		} else if err := parameters[i].Check(values[name]); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

func sortedNames(values Values) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var parameterName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,127}$`)

// problems returns everything that is wrong with the rule itself.
func (p Parameter) problems() []error {
	var problems []error
	if !parameterName.MatchString(p.Name) {
		problems = append(problems, fmt.Errorf("name: %q is not a parameter's name", p.Name))
	}
	switch p.Type {
	case IntegerParameter, FloatParameter, BooleanParameter, StringParameter, DurationParameter:
	default:
		problems = append(problems, fmt.Errorf("type: %q is unknown; allowed: integer, float, boolean, string, duration", p.Type))
	}
	for _, limit := range []struct {
		path  string
		value json.Number
	}{{"min", p.Min}, {"max", p.Max}} {
		if _, ok := rational(limit.value); limit.value != "" && !ok {
			problems = append(problems, fmt.Errorf("%s: %q is not a number", limit.path, limit.value))
		}
	}
	// Parsed only: a guest looks at every pattern of its engine when it starts, and compiled they take megabytes.
	if _, err := syntax.Parse(p.Pattern, syntax.Perl); err != nil {
		problems = append(problems, fmt.Errorf("pattern: %w", err))
	}
	return problems
}
