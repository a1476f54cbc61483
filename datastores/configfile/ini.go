package configfile

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// Section is one [section] of an option file.
type Section struct {
	Name     string
	Settings []Setting
}

// Setting is one line of an option file. Flags are written with a value too: skip_name_resolve = "ON".
type Setting struct{ Name, Value string }

// maxINILine is what MySQL and MariaDB read as one line (my_default.c reads into 4096 bytes).
const maxINILine = 4000

var iniName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// INI writes an option file as MySQL and MariaDB read it: every value in double quotes, with their escapes (MySQL
// manual, "Using Option Files"). Names are letters, digits and _ . - only; values hold no control character but tab,
// line feed and carriage return.
func INI(sections ...Section) ([]byte, error) {
	var b bytes.Buffer
	for _, s := range sections {
		if !iniName.MatchString(s.Name) {
			return nil, fmt.Errorf("section %q: want letters, digits and _ . - only", s.Name)
		}
		fmt.Fprintf(&b, "[%s]\n", s.Name)
		for _, set := range s.Settings {
			if !iniName.MatchString(set.Name) {
				return nil, fmt.Errorf("[%s] %q: want letters, digits and _ . - only", s.Name, set.Name)
			}
			if i := strings.IndexFunc(set.Value, badControl); i >= 0 {
				return nil, fmt.Errorf("[%s] %s: the value holds a control character at byte %d", s.Name, set.Name, i)
			}
			line := fmt.Sprintf("%s = \"%s\"\n", set.Name, iniEscape.Replace(set.Value))
			if len(line) > maxINILine {
				return nil, fmt.Errorf("[%s] %s: the line is longer than %d bytes", s.Name, set.Name, maxINILine)
			}
			b.WriteString(line)
		}
	}
	return b.Bytes(), nil
}

var iniEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\r", `\r`)

func badControl(r rune) bool {
	return (r < ' ' && r != '\n' && r != '\t' && r != '\r') || r == 0x7f
}
