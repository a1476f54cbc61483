package etcdschema

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Key is the place of one record of type T. A Key built from a bad part carries the error and every verb returns it.
type Key[T any] struct {
	path string
	err  error
}

// String is the key as it stands in etcd.
func (k Key[T]) String() string       { return k.path }
func (k Key[T]) ref() (string, error) { return k.path, k.err }

// Ref is any [Key].
type Ref interface{ ref() (string, error) }

// Prefix is the place of the records of type T whose keys differ in the last part only. It ends in "/".
type Prefix[T any] struct {
	path string
	err  error
}

// String is the prefix as it stands in etcd.
func (p Prefix[T]) String() string { return p.path }

// Name cuts the prefix off a key: the last part.
func (p Prefix[T]) Name(key string) string { return strings.TrimPrefix(key, p.path) }

// ErrBadKey is wrapped by what a verb returns for a [Key] built from a part that is no UUID or name.
type ErrBadKey struct{ Part, Value, Want string }

func (e *ErrBadKey) Error() string { return fmt.Sprintf("%s %q: want %s", e.Part, e.Value, e.Want) }

const (
	mostName = 63 // bytes of a name
	hashSize = 64 // digits of a hash
)

// part is one variable part of a key, with what it must look like.
type part struct {
	what, value string
	check       func(string) string
}

func aName(what, v string) part {
	return part{what, v, func(s string) string {
		if !ValidName(s) {
			return "1 to 63 of a-z 0-9 . _ -, beginning with a letter or digit"
		}
		return ""
	}}
}

func anID(what, v string) part {
	return part{what, v, func(s string) string {
		if id, err := uuid.Parse(s); err != nil || id.String() != s {
			return "a UUID such as 01234567-89ab-7cde-8f01-23456789abcd"
		}
		return ""
	}}
}

func aHash(what, v string) part {
	return part{what, v, func(s string) string {
		if len(s) != hashSize || strings.Trim(s, "0123456789abcdef") != "" {
			return "64 hexadecimal digits"
		}
		return ""
	}}
}

// join checks the parts and fills them into pattern, whose variable parts are "*".
func join(pattern string, parts ...part) (string, error) {
	var b strings.Builder
	for _, p := range parts {
		if want := p.check(p.value); want != "" {
			return "", &ErrBadKey{Part: p.what, Value: p.value, Want: want}
		}
		before, after, _ := strings.Cut(pattern, "*")
		b.WriteString(before)
		b.WriteString(p.value)
		pattern = after
	}
	b.WriteString(pattern)
	return b.String(), nil
}

func key[T any](pattern string, parts ...part) Key[T] {
	path, err := join(pattern, parts...)
	return Key[T]{path, err}
}

func prefix[T any](pattern string, parts ...part) Prefix[T] {
	path, err := join(pattern, parts...)
	return Prefix[T]{path, err}
}

// ValidName reports whether s may be a variable part of a key: a project, a datastore, a version, a flavor.
func ValidName(s string) bool {
	if s == "" || len(s) > mostName || strings.IndexByte("._-", s[0]) >= 0 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("._-", c) < 0 {
			return false
		}
	}
	return true
}

// ValidID reports whether s is a UUID in its usual form.
func ValidID(s string) bool { return anID("", s).check(s) == "" }
