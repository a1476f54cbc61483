package main

import (
	"bytes"
	"io"
)

// indenter writes every line a little to the right.
type indenter struct {
	w      io.Writer
	inside bool // a line has begun
}

func (i *indenter) Write(b []byte) (int, error) {
	var out []byte
	for line := range bytes.Lines(b) {
		if !i.inside {
			out = append(out, "     "...)
		}
		out = append(out, line...)
		i.inside = line[len(line)-1] != '\n'
	}
	_, err := i.w.Write(out)
	return len(b), err
}
