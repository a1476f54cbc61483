package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a value written in YAML: the parser's time grows with the square of the nesting.
const (
	maxYAML     = 64 << 10 // bytes
	maxBrackets = 1000     // [ and { in all
	maxDashes   = 200      // - and ? in one line
)

// toJSON turns what an operator wrote, JSON or YAML, into JSON. Members keep their order, and one that is given twice
// stays twice, for the judge to see. Whatever the value is, it returns: an error at worst.
func toJSON(value []byte) (doc []byte, err error) {
	if json.Valid(value) {
		return value, nil
	}
	if err := tameYAML(string(value)); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil { // the parser's: this is anybody's input
			doc, err = nil, errors.New("neither JSON nor YAML that can be read")
		}
	}()
	tokens := lexer.Tokenize(string(value))
	for _, t := range tokens {
		if t.Type == token.AnchorType || t.Type == token.AliasType || t.Type == token.TagType {
			return nil, fmt.Errorf("YAML line %d: anchors, aliases and tags are not allowed", t.Position.Line)
		}
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, fmt.Errorf("neither JSON nor YAML: %s", yaml.FormatError(err, false, false))
	}
	body, err := onlyBody(file)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.NodeToValue(body, &tree, yaml.UseOrderedMap(), yaml.AllowDuplicateMapKey()); err != nil {
		return nil, fmt.Errorf("neither JSON nor YAML: %s", yaml.FormatError(err, false, false))
	}
	var out bytes.Buffer
	if err := writeJSON(&out, tree); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func onlyBody(file *ast.File) (ast.Node, error) {
	var body ast.Node
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			return nil, errors.New("more than one YAML document")
		}
		body = d.Body
	}
	if body == nil {
		return nil, errors.New("the value is empty")
	}
	return body, nil
}

// tameYAML refuses what would keep the parser busy for long.
func tameYAML(s string) error {
	if len(s) > maxYAML {
		return fmt.Errorf("neither JSON nor YAML of at most %d KiB", maxYAML>>10)
	}
	brackets := strings.Count(s, "[") + strings.Count(s, "{")
	for line := range strings.Lines(s) {
		if strings.Count(line, "-")+strings.Count(line, "?") > maxDashes {
			brackets = maxBrackets + 1
		}
	}
	if brackets > maxBrackets {
		return errors.New("neither JSON nor YAML of a reasonable nesting")
	}
	return nil
}

// writeJSON writes a tree with ordered maps. A key that is no string is written as YAML would print it.
func writeJSON(out *bytes.Buffer, tree any) error {
	switch v := tree.(type) {
	case yaml.MapSlice:
		out.WriteByte('{')
		for i, item := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := writeJSON(out, fmt.Sprint(item.Key)); err != nil {
				return err
			}
			out.WriteByte(':')
			if err := writeJSON(out, item.Value); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := writeJSON(out, item); err != nil {
				return err
			}
		}
		out.WriteByte(']')
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("YAML: %w", err)
		}
		out.Write(b)
	}
	return nil
}
