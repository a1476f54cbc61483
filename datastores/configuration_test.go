package datastores

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParameterCheck(t *testing.T) {
	size := Parameter{Name: "size", Type: IntegerParameter, Min: "-1", Max: "18446744073709551615"}
	ratio := Parameter{Name: "ratio", Type: FloatParameter, Min: "0", Max: "0.3"}
	strict := Parameter{Name: "strict", Type: BooleanParameter}
	mode := Parameter{Name: "mode", Type: StringParameter, Values: []string{"FULL", "NONE"}}
	words := Parameter{Name: "words", Type: StringParameter, Pattern: "a|b+"}
	pause := Parameter{Name: "pause", Type: DurationParameter, Min: "0.5", Max: "3600"}
	free := Parameter{Name: "free", Type: StringParameter}
	for _, c := range []struct {
		parameter Parameter
		value     string // JSON
		says      string // "": it is taken
	}{
		{size, `-1`, ""}, {size, `0`, ""}, {size, `18446744073709551615`, ""},
		{size, `-2`, "less than -1"}, {size, `18446744073709551616`, "more than 18446744073709551615"},
		{size, `1.5`, "integer"}, {size, `1.0`, "integer"}, {size, `1e3`, "integer"}, {size, `"1"`, "integer"}, {size, `true`, "integer"}, {size, `null`, "integer"}, {size, `[1]`, "integer"},
		{size, strings.Repeat("9", 41), "integer"},
		{ratio, `0`, ""}, {ratio, `0.3`, ""}, {ratio, `0.30000000000000000001`, "more than 0.3"}, {ratio, `-0.1`, "less than 0"},
		{ratio, `1e999999999`, "float"}, {ratio, `"0.1"`, "float"},
		{strict, `true`, ""}, {strict, `false`, ""}, {strict, `1`, "boolean"}, {strict, `"true"`, "boolean"}, {strict, `null`, "boolean"},
		{mode, `"FULL"`, ""}, {mode, `"full"`, "FULL, NONE"}, {mode, `""`, "FULL, NONE"}, {mode, `true`, "string"},
		{words, `"a"`, ""}, {words, `"bbb"`, ""}, {words, `"ab"`, "does not match"}, {words, `"xa"`, "does not match"}, {words, `"a\n"`, "does not match"},
		{pause, `"500ms"`, ""}, {pause, `"1h"`, ""}, {pause, `"1m30s"`, ""}, {pause, `"499ms"`, "less than 0.5s"}, {pause, `"1h1ns"`, "more than 3600s"},
		{pause, `"-1s"`, "less than"}, {pause, `"90"`, "no duration"}, {pause, `90`, "duration"}, {pause, `""`, "no duration"}, {pause, `"1d"`, "no duration"},
		{free, `""`, ""}, {free, `"日本"`, ""}, {free, `"a\nb"`, "control"}, {free, `"\u0000"`, "control"}, {free, `"\u007f"`, "control"},
		{free, fmt.Sprintf("%q", strings.Repeat("x", 1024)), ""}, {free, fmt.Sprintf("%q", strings.Repeat("x", 1025)), "1024"},
	} {
		var values Values
		if err := json.Unmarshal([]byte(`{"v":`+c.value+`}`), &values); err != nil {
			t.Fatal(err)
		}
		err := c.parameter.Check(values["v"])
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), c.parameter.Name+": ")) {
			t.Errorf("%s = %.60s: %v, want an error that says %q", c.parameter.Name, c.value, err, c.says)
		}
	}
}

func TestCheckValuesSaysAll(t *testing.T) {
	parameters := []Parameter{{Name: "a", Type: BooleanParameter}, {Name: "b", Type: StringParameter}}
	problems := CheckValues(parameters, Values{"d": true, "b": true, "a": "x", "c": 1})
	var names []string
	for _, p := range problems {
		name, _, _ := strings.Cut(p.Error(), ":")
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "a b c d" {
		t.Errorf("problems of %q, want them of all, by name: %v", got, problems)
	}
	if problems := CheckValues(parameters, nil); problems != nil {
		t.Errorf("no values: %v", problems)
	}
}

// TestValuesKeepNumbers: what a tenant wrote reaches the server as it was written.
func TestValuesKeepNumbers(t *testing.T) {
	const wire = `{"big":18446744073709551615,"exact":0.1000000000000000000001,"flag":true,"text":"1"}`
	var values Values
	if err := json.Unmarshal([]byte(wire), &values); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(values); err != nil || string(got) != wire {
		t.Errorf("%s was read and written as %s, %v", wire, got, err)
	}
	if err := json.Unmarshal([]byte(`[1]`), &values); err == nil {
		t.Error("a list was taken for values")
	}
}

// TestLimitsAreExact compares with what Go's own integers say.
func TestLimitsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least, most, n := rapid.Int64().Draw(t, "least"), rapid.Int64().Draw(t, "most"), rapid.Int64().Draw(t, "n")
		p := Parameter{Name: "p", Type: IntegerParameter, Min: number(least), Max: number(most)}
		if err := p.Check(number(n)); (err == nil) != (least <= n && n <= most) {
			t.Errorf("%d within %d and %d: %v", n, least, most, err)
		}
	})
}

func number(n int64) json.Number { return json.Number(fmt.Sprint(n)) }

func TestParameterProblems(t *testing.T) {
	for says, p := range map[string]Parameter{
		"":        {Name: "innodb-size.x_1", Type: FloatParameter, Min: "0", Max: "1.5"},
		"name":    {Name: "1; DROP", Type: BooleanParameter},
		"type":    {Name: "a", Type: "bool"},
		"min":     {Name: "a", Type: IntegerParameter, Min: "1e3"},
		"max":     {Name: "a", Type: IntegerParameter, Max: "many"},
		"pattern": {Name: "a", Type: StringParameter, Pattern: "("},
	} {
		problems := (ServerOptions{Manager: "m", Parameters: []Parameter{{Name: "ok", Type: BooleanParameter}, p}}).Problems()
		want := "configuration_parameters[1]." + says + ":"
		if says == "" && len(problems) > 0 || says != "" && (len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), want)) {
			t.Errorf("%+v: %v, want %q", p, problems, want)
		}
	}
}
