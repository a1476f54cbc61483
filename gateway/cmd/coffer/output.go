package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
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
		fmt.Fprintln(columns, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	_ = columns.Flush()
}

// text is sentences.
type text string

func (t text) write(w io.Writer) {
	if t != "" {
		fmt.Fprintln(w, string(t))
	}
}

// fields is a single thing: names and values. Those without a value are left out.
type fields [][2]string

func (f fields) write(w io.Writer) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, field := range f {
		if field[1] != "" {
			fmt.Fprintf(columns, "%s\t%s\n", field[0], field[1])
		}
	}
	_ = columns.Flush()
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
		fmt.Fprintf(a.out, format+"\n", args...)
	}
}

// onTerminal tells whether w is one, and how wide.
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
