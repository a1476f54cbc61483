package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"golang.org/x/term"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

// view is how something looks for a person.
type view interface{ write(w io.Writer) }

// table is a list: the head, then the rows.
type table [][]string

func (t table) write(w io.Writer) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, row := range t {
		if i == 0 {
			for j := range row {
				row[j] = strings.ToUpper(row[j])
			}
		}
		fmt.Fprintln(columns, strings.TrimRight(strings.Join(plainRow(row), "\t"), "\t"))
	}
	_ = columns.Flush()
}

// text is sentences.
type text string

func (t text) write(w io.Writer) {
	if t != "" {
		fmt.Fprintln(w, plain(string(t)))
	}
}

// fields is a single thing: names and values. Those without a value are left out.
type fields [][2]string

func (f fields) write(w io.Writer) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, field := range f {
		if field[1] != "" {
			fmt.Fprintf(columns, "%s\t%s\n", plain(field[0]), plain(field[1]))
		}
	}
	_ = columns.Flush()
}

// plain is a text without control characters other than line breaks: names and messages are others', and a terminal obeys some.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' {
			return -1
		}
		return c
	}, s)
}

func plainRow(row []string) []string {
	cells := make([]string, len(row))
	for i, cell := range row {
		cells[i] = strings.ReplaceAll(plain(cell), "\n", " ")
	}
	return cells
}

// print writes v as JSON, or its view.
func (a *app) print(v any, as view) error {
	if a.output == "json" {
		encoder := json.NewEncoder(a.out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(v)
	}
	as.write(a.out)
	return nil
}

// say tells a person what was done; with --output json nothing, so that the output stays JSON.
func (a *app) say(format string, args ...any) {
	if a.output != "json" {
		fmt.Fprintln(a.out, plain(fmt.Sprintf(format, args...)))
	}
}

// onTerminal reports whether w is one, and how wide.
func onTerminal(w io.Writer) (width int, ok bool) {
	file, ok := w.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(file.Fd()))
	return max(width, 40), err == nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// printPlan shows a person what would be done.
func (a *app) printPlan(f *dbext.Plan) error {
	t := table{{"step", "instance", "what is done", "clients are without"}}
	for _, s := range f.Steps {
		t = append(t, []string{s.Step, s.Instance, s.Does, s.Without})
	}
	if len(f.Steps) == 0 {
		t = table{{"would be", "record", "id"}}
		for _, c := range f.Changes {
			t = append(t, []string{c.WouldBe, c.Record, c.ID})
		}
	}
	if err := a.print(f.Raw, t); err != nil {
		return err
	}
	if f.Seconds != nil {
		a.say("the last %s of this instance took %.1f s", f.Operation, *f.Seconds)
	}
	if len(f.Parameters) > 0 {
		a.say("a restart is needed afterwards, for %s", strings.Join(f.Parameters, ", "))
	}
	a.say("this is a dry run: nothing was done")
	return nil
}
