// Package troveconf reads the dialect of INI that oslo.config reads, in which Trove is configured:
//
//   - "key = value" or "key: value", whichever sign comes first, below a "[group]";
//   - a line that begins with a blank continues the value above it, a comment sign in it included;
//   - lines that begin with # or ; are comments, an empty line ends a value;
//   - an option that is given again adds a value to it; who wants one value takes the last;
//   - a value may stand in quotes, and may refer to others with $name, ${name} or ${group.name}.
//
// What cannot be read is told with its line; the rest is read all the same.
package troveconf

import (
	"bytes"
	"fmt"
	"strings"
)

// Conf is what files say, in their order.
type Conf struct {
	Entries  []Entry
	Groups   []Group // also those without an entry
	Problems []Problem
}

// Place is a line of a file.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"` // 1 is the first
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Group is the head of a group.
type Group struct {
	Place
	Name string
}

// Entry is an option that is given a value.
type Entry struct {
	Place
	Lines int    // how many it takes, with continuations
	Group string // in small letters, but for [DefaultGroup]
	Name  string // with _ for -
	Value string // lines joined by \n; references are not resolved, see [Conf.Expand]
}

// Problem is a line that cannot be read.
type Problem struct {
	Place
	Message string
}

func (p Problem) Error() string { return p.Place.String() + ": " + p.Message }

// DefaultGroup is the group of options that belong to no other.
const DefaultGroup = "DEFAULT"

// Read reads a file's text after what has been read before, as oslo.config does with several --config-file.
func (c *Conf) Read(file string, text []byte) {
	p := parser{Conf: c, file: file}
	for line := range bytes.Lines(text) {
		p.number++
		p.line(strings.TrimRight(strings.ToValidUTF8(string(line), "\uFFFD"), " \t\r\n\v\f"))
	}
	p.flush()
}

// parser is one file in the reading.
type parser struct {
	*Conf
	file   string
	number int
	group  string
	open   *Entry // may be continued
	lines  []string
}

func (p *parser) here() Place { return Place{p.file, p.number} }

func (p *parser) bad(format string, args ...any) {
	p.Problems = append(p.Problems, Problem{p.here(), fmt.Sprintf(format, args...)})
}

func (p *parser) line(line string) {
	switch {
	case line == "":
		p.flush()
	case line[0] == ' ' || line[0] == '\t':
		p.continued(strings.TrimLeft(line, " \t"))
	case line[0] == '#' || line[0] == ';':
		p.flush()
	case line[0] == '[':
		p.flush()
		p.head(line)
	default:
		p.flush()
		p.assignment(line)
	}
}

func (p *parser) continued(line string) {
	switch {
	case p.open != nil:
		p.lines = append(p.lines, line)
		p.open.Lines = p.number - p.open.Line + 1
	case line[0] != '#' && line[0] != ';': // oslo.config stops at such a comment; it harms nobody
		p.bad("begins with a blank, but continues no value; want an option at the beginning of the line")
	}
}

// head reads "[group]".
func (p *parser) head(line string) {
	name, ok := strings.CutSuffix(line[1:], "]")
	if name = strings.TrimSpace(name); !ok || name == "" {
		p.group = ""
		p.bad("%q is no group; want one such as [mysql]. The options below it are not read", line)
		return
	}
	if p.group = strings.ToLower(name); strings.EqualFold(name, DefaultGroup) {
		p.group = DefaultGroup
	}
	p.Groups = append(p.Groups, Group{p.here(), p.group})
}

func (p *parser) assignment(line string) {
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		p.bad("is no option; want name = value")
		return
	}
	name := strings.TrimSpace(line[:i])
	switch {
	case name == "":
		p.bad("the option's name is missing before %q", line[i:i+1])
	case p.group == "":
		p.bad("option %s stands below no group that could be read; want [DEFAULT] or a datastore's above it", shortened(name))
	default:
		p.open = &Entry{Place: p.here(), Lines: 1, Group: p.group, Name: strings.ReplaceAll(name, "-", "_")}
		p.lines = []string{unquoted(strings.TrimSpace(line[i+1:]))}
	}
}

// flush ends a value that might have been continued.
func (p *parser) flush() {
	if p.open != nil {
		p.open.Value = strings.TrimSpace(strings.Join(p.lines, "\n"))
		p.Entries = append(p.Entries, *p.open)
	}
	p.open, p.lines = nil, nil
}

// unquoted takes the quotes from a value that stands in them as a whole: those of "a", "b" belong to its parts.
func unquoted(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] || s[0] != '"' && s[0] != '\'' {
		return s
	}
	if inside := s[1 : len(s)-1]; !strings.Contains(inside, s[:1]) {
		return inside
	}
	return s
}

// shortened is for messages; a value that might be a secret is not in it.
func shortened(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}
