package datastores

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Bounds of what an error tells, in bytes.
const (
	maxMessage = 400
	maxDetail  = 2 << 10
)

// LastWords is implemented by an error that knows what a program wrote before it ended. Told cleans the words; they need
// not be fit for anybody's eyes.
type LastWords interface {
	error
	LastWords() string
}

// Told makes of err what may leave the guest, or nil of nil: it is where every fault is made. Message is one line of at
// most 400 bytes with the reason first. When err holds an *[Error], the message and the kind are that one's; otherwise
// the kind is Internal and the message is err's text without anything that is quoted. Detail, of at most 2 KiB, is the
// whole text and the last words. Neither has a directory of the host; nothing that a program has quoted is in them, for that may be a
// row, a statement or a secret.
func Told(err error) *Error {
	if err == nil {
		return nil
	}
	told := &Error{Kind: Internal}
	var own *Error
	var ended LastWords
	words := ""
	if errors.As(err, &ended) {
		words = diagnostics(ended.LastWords())
	}
	text := masked(err.Error())
	if errors.As(err, &own) {
		told.Kind, told.Message = own.Kind, oneLine(own.Message)
		words = joined(own.Detail, words)
	} else if told.Message = oneLine(text); words != "" {
		told.Message = oneLine(Reason(words) + " (" + strings.TrimSpace(text) + ")")
	}
	if own != nil && err.Error() == own.Message {
		text = ""
	}
	told.Detail = bounded(joined(text, words), maxDetail)
	if told.Detail == told.Message {
		told.Detail = ""
	}
	return told
}

// Reason picks the line that says why from a program's last words: the first that tells of an error since the program was
// started last. It is clean as a message of Told is, and "it left no word of why" when there is no such line.
func Reason(words string) string {
	lines := strings.Split(diagnostics(words), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if started.MatchString(lines[i]) {
			lines = lines[i+1:]
			break
		}
	}
	for _, says := range []*regexp.Regexp{severity, trouble} { // a line that a program calls an error goes before others
		for _, line := range lines {
			if says.MatchString(line) && !notice.MatchString(line) {
				return oneLine(severity.ReplaceAllString(line, ""))
			}
		}
	}
	return "it left no word of why"
}

var (
	started = regexp.MustCompile(`(?i)\bstarting\b`)
	// trouble is a word without which a line of a program's output is no diagnostic.
	trouble = regexp.MustCompile(`(?i)\b(errors?|fatal|panic|fail(ed|ure|s)?|cannot|can't|could not|unable|denied|no space|bad|refused|not found|no such|unknown|invalid|exceed(s|ed)?|full|killed|corrupt(ed)?|unrecognized|must)\b`)
	// severity is what stands before the reason: a time, a process, a program, a level.
	severity = regexp.MustCompile(`^(.*?(\[ERROR\]|\b(FATAL|PANIC|ERROR|Error|error|fatal):|\bERROR \d+ \(\w+\)[^:]*:)|\d+:\w \d+ \w+ \d+ [\d:.]+ [#*.-])\s*`)
	// notice is a line that its program calls no error.
	notice = regexp.MustCompile(`\[(Note|Warning)\]|\b(LOG|NOTICE|WARNING|INFO|DEBUG):`)
	// data is a line that may hold a row or a statement: PostgreSQL's particulars, SQL, and what a line before goes on with.
	data = regexp.MustCompile(`(?i)(\b(DETAIL|CONTEXT|STATEMENT|QUERY|HINT|Command was):|^\s|^-{2,}|^(INSERT|UPDATE|DELETE|SELECT|CREATE|ALTER|DROP|COPY|SET|GRANT|REVOKE|REPLACE|LOAD|CALL|DO|WITH|BEGIN|MERGE)\b)`)
	// quoted is text in quotes, when these stand where quotes begin and end; half of it where the end was cut off.
	quoted = regexp.MustCompile("(?s)(^|[\\s(=:,\\[])('.*?'|\".*?\"|`.*?`)($|[\\s).,:;\\]])")
	half   = regexp.MustCompile("(?m)(^|[\\s(=:,\\[])['\"`][^'\"`…].*$")
	// directory is the part of an absolute path before its last element.
	directory = regexp.MustCompile(`(^|[\s"'=(\[:])(?:/[^\s/'":;,()\[\]]+)+/([^\s/'":;,()\[\]]+)`)
)

// diagnostics are the lines of a program's output that tell of trouble or of a start, clean.
func diagnostics(words string) string {
	var kept []string
	for line := range strings.Lines(words) {
		line = strings.TrimRight(line, "\r\n")
		if !data.MatchString(line) && (trouble.MatchString(line) || started.MatchString(line)) {
			kept = append(kept, line)
		}
	}
	return masked(strings.Join(kept, "\n"))
}

// masked is text without what is quoted in it.
func masked(text string) string {
	for range 2 { // neighbours share the blank between them
		text = quoted.ReplaceAllStringFunc(text, func(s string) string {
			m := quoted.FindStringSubmatch(s)
			return m[1] + m[2][:1] + "…" + m[2][:1] + m[3]
		})
	}
	return half.ReplaceAllString(text, "$1…")
}

// oneLine is a text without line breaks and directories, of at most maxMessage bytes.
func oneLine(text string) string {
	return bounded(strings.Join(strings.Fields(text), " "), maxMessage)
}

// bounded is a text without directories, cut at limit bytes.
func bounded(text string, limit int) string {
	text = strings.ToValidUTF8(directory.ReplaceAllString(text, "$1$2"), "�")
	if len(text) <= limit {
		return text
	}
	cut := limit - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

func joined(a, b string) string { return strings.TrimSpace(a + "\n" + b) }
