package troveconf

import (
	"fmt"
	"regexp"
	"strings"
)

// maxExpanded is how long a value may get by its references.
const maxExpanded = 64 << 10

// reference is what string templates of oslo.config know: $$ or \$ for a dollar, $name, ${name}, ${group.name}.
var reference = regexp.MustCompile(`\$\$|\\\$|\$([A-Za-z_][A-Za-z0-9_.]*)|\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}`)

// Expand returns an entry's value with every reference replaced. A name without group is looked for in the entry's own
// group, then in [DefaultGroup]. It fails when the files do not give a value, and when references go round in circles.
func (c *Conf) Expand(e Entry) (string, error) {
	x := expansion{conf: c, within: map[string]bool{}}
	return x.expand(e)
}

type expansion struct {
	conf   *Conf
	within map[string]bool // options that are being expanded
	length int
}

func (x *expansion) expand(e Entry) (string, error) {
	key := e.Group + "." + e.Name
	if x.within[key] {
		return "", fmt.Errorf("its value refers to itself, by way of %s", key)
	}
	x.within[key] = true
	defer delete(x.within, key)
	var failed error
	value := reference.ReplaceAllStringFunc(e.Value, func(found string) string {
		if failed != nil {
			return ""
		}
		if found == "$$" || found == `\$` {
			return "$"
		}
		var with string
		with, failed = x.lookup(e.Group, strings.TrimRight(strings.Trim(found, "${}"), "."))
		return with + found[len(strings.TrimRight(found, ".")):] // a full stop after a name is none of it
	})
	if failed != nil {
		return "", failed
	}
	if x.length += len(value) + 1; x.length > maxExpanded {
		return "", fmt.Errorf("its references make it longer than %d bytes", maxExpanded)
	}
	return value, nil
}

// lookup finds the value that a reference within a group speaks of.
func (x *expansion) lookup(group, name string) (string, error) {
	if in, option, ok := strings.Cut(name, "."); ok {
		if !strings.EqualFold(in, DefaultGroup) {
			in = strings.ToLower(in)
		} else {
			in = DefaultGroup
		}
		if e, ok := x.conf.Last(in, option); ok {
			return x.expand(e)
		}
		return "", fmt.Errorf("it refers to ${%s}, which is not set here; write the value itself", name)
	}
	for _, in := range []string{group, DefaultGroup} {
		if e, ok := x.conf.Last(in, name); ok {
			return x.expand(e)
		}
	}
	return "", fmt.Errorf("it refers to $%s, which is not set here; write the value itself", name)
}

// Last finds the entry that counts for an option of one value.
func (c *Conf) Last(group, name string) (Entry, bool) {
	name = strings.ReplaceAll(name, "-", "_")
	for i := len(c.Entries) - 1; i >= 0; i-- {
		if e := c.Entries[i]; e.Group == group && e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}
