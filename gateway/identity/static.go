package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/hashicorp/go-multierror"

	"github.com/cofferdb/coffer/etcdschema"
)

// minStaticToken is how many characters a token must have: it is kept as a fast hash, so it must not be guessable.
const minStaticToken = 20

// StaticToken is a token of an operator's file. Exactly one of Token and SHA256 must be set.
type StaticToken struct {
	Name        string   `yaml:"name"`         // who uses it: the user name in logs and answers
	Token       string   `yaml:"token"`        // at least 20 characters
	SHA256      string   `yaml:"sha256"`       // of the token, 64 hexadecimal digits
	Project     string   `yaml:"project"`      // id; "*" for any, see [AnyProject]
	ProjectName string   `yaml:"project_name"` // "": as Project
	Roles       []string `yaml:"roles"`        // at least one
}

// Static knows a fixed set of tokens, kept as hashes.
type Static struct{ tokens []staticToken }

type staticToken struct {
	sum [sha256.Size]byte
	who Who
}

// NewStatic checks tokens and reports all their problems at once, by place and name, never by token.
func NewStatic(tokens []StaticToken) (*Static, error) {
	s := &Static{}
	var problems *multierror.Error
	for i, t := range tokens {
		entry, err := t.check()
		if err == nil && slices.ContainsFunc(s.tokens, func(o staticToken) bool { return o.sum == entry.sum }) {
			err = fmt.Errorf("the same token stands above")
		}
		if err != nil {
			problems = multierror.Append(problems, fmt.Errorf("static token %d (%q): %w", i+1, t.Name, err))
			continue
		}
		s.tokens = append(s.tokens, entry)
	}
	return s, problems.ErrorOrNil()
}

func (t StaticToken) check() (staticToken, error) {
	var entry staticToken
	var problems *multierror.Error
	switch sum, err := hex.DecodeString(t.SHA256); {
	case (t.Token == "") == (t.SHA256 == ""):
		problems = multierror.Append(problems, fmt.Errorf("set either token or sha256"))
	case t.Token != "" && len(t.Token) < minStaticToken:
		problems = multierror.Append(problems, fmt.Errorf("token: want at least %d characters", minStaticToken))
	case t.Token != "":
		entry.sum = sha256.Sum256([]byte(t.Token))
	case err != nil || len(sum) != sha256.Size:
		problems = multierror.Append(problems, fmt.Errorf("sha256: want 64 hexadecimal digits"))
	default:
		copy(entry.sum[:], sum)
	}
	if t.Name == "" {
		problems = multierror.Append(problems, fmt.Errorf("name: say who uses the token"))
	}
	if t.Project != AnyProject && !etcdschema.ValidName(t.Project) {
		problems = multierror.Append(problems, fmt.Errorf("project %q: want 1 to 63 of a-z 0-9 . _ -, or %q", t.Project, AnyProject))
	}
	if len(t.Roles) == 0 {
		problems = multierror.Append(problems, fmt.Errorf("roles: want at least one of %s", strings.Join(roles, ", ")))
	}
	for _, role := range t.Roles {
		if !slices.Contains(roles, role) {
			problems = multierror.Append(problems, fmt.Errorf("role %q: want one of %s", role, strings.Join(roles, ", ")))
		}
	}
	name := t.ProjectName
	if name == "" {
		name = t.Project
	}
	entry.who = Who{UserID: "static:" + t.Name, UserName: t.Name, Project: t.Project, ProjectName: name, Roles: effective(t.Roles)}
	return entry, problems.ErrorOrNil()
}

// ReadStatic reads a YAML or JSON file {"tokens": [...]} of [StaticToken]. A file that holds a token in clear must be
// readable by its owner only.
func ReadStatic(path string) (*Static, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read static tokens: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot read static tokens: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("cannot read static tokens: %w", err)
	}
	var file struct {
		Tokens []StaticToken `yaml:"tokens"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&file); err != nil {
		// The parser's message quotes the text around the error, and so perhaps a token.
		return nil, fmt.Errorf("static tokens %s: want a list `tokens` of name, project, roles, and token or sha256%s", path, lineOf(err))
	}
	plain := slices.ContainsFunc(file.Tokens, func(t StaticToken) bool { return t.Token != "" })
	if plain && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("static tokens %s: others may read the tokens in it: chmod 600 it, or give sha256 instead of token", path)
	}
	s, err := NewStatic(file.Tokens)
	if err != nil {
		return nil, fmt.Errorf("static tokens %s: %w", path, err)
	}
	return s, nil
}

func lineOf(err error) string {
	if e, ok := err.(yaml.Error); ok && e.GetToken() != nil && e.GetToken().Position != nil {
		return fmt.Sprintf(" (line %d)", e.GetToken().Position.Line)
	}
	return ""
}

// Authenticate implements [Authenticator]. It compares with every token, so that its time tells nothing.
func (s *Static) Authenticate(_ context.Context, token string) (Who, error) {
	sum := sha256.Sum256([]byte(token))
	found := -1
	for i := range s.tokens {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], s.tokens[i].sum[:]), i, found)
	}
	if found < 0 {
		return Who{}, ErrUnauthorized
	}
	return s.tokens[found].who, nil
}
