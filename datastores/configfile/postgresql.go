package configfile

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// postgresName is a parameter, or an extension's after its prefix: work_mem, auto_explain.log_min_duration.
var postgresName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

// PostgreSQL writes a configuration file as PostgreSQL reads it: name = 'value', one a line, with its escapes
// (guc-file.l, DeescapeQuotedString). Values hold no control character but tab, line feed and carriage return. The
// directives that read other files (include and its kin) are no parameters, and are refused.
func PostgreSQL(settings ...Setting) ([]byte, error) {
	var b bytes.Buffer
	for _, set := range settings {
		if !postgresName.MatchString(set.Name) {
			return nil, fmt.Errorf("%q: want a parameter's name, of letters, digits and _, with at most one dot", set.Name)
		}
		switch strings.ToLower(set.Name) {
		case "include", "include_dir", "include_if_exists":
			return nil, fmt.Errorf("%s: reads another file and is no parameter", set.Name)
		}
		if i := strings.IndexFunc(set.Value, badControl); i >= 0 {
			return nil, fmt.Errorf("%s: the value holds a control character at byte %d", set.Name, i)
		}
		fmt.Fprintf(&b, "%s = '%s'\n", set.Name, postgresEscape.Replace(set.Value))
	}
	return b.Bytes(), nil
}

var postgresEscape = strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`, "\t", `\t`, "\r", `\r`)
