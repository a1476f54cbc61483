package configfile

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

var redisName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// redisPlain are the values that redis reads as one word without quotes.
var redisPlain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+*-]+$`)

// Redis writes a configuration file as redis and valkey read it: one directive a line, each given as its name and its
// values. Values may hold any byte but zero; those that need it are quoted (sds.c, sdssplitargs).
func Redis(directives ...[]string) ([]byte, error) {
	var b bytes.Buffer
	for _, d := range directives {
		if len(d) < 2 || !redisName.MatchString(d[0]) {
			return nil, fmt.Errorf("directive %q: want a name of a-z 0-9 - and at least one value", d)
		}
		b.WriteString(d[0])
		for _, value := range d[1:] {
			if strings.IndexByte(value, 0) >= 0 {
				return nil, fmt.Errorf("%s: the value holds a zero byte", d[0])
			}
			b.WriteByte(' ')
			b.WriteString(redisQuote(value))
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

func redisQuote(s string) string {
	if redisPlain.MatchString(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
