// Package limits holds how much anybody may send, hold or do: one table, its settings, and what it has refused.
package limits

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/cofferdb/coffer/agentpoll/rate"
	"github.com/cofferdb/coffer/gateway/fault"
)

// Limits are the limits of one gateway and what they have counted. Make them with [New].
type Limits struct {
	values  map[string]int64
	verbs   map[string]*rate.Limiter // by the row's name; a project's requests
	writes  *rate.Limiter            // a project's bytes
	refused map[string]*atomic.Uint64
	doors   doors
}

// What a write costs beside its body, and how many seconds' worth of bytes may come at once.
const (
	writeBytes = 1 * KiB
	writeBurst = 128
)

// New returns the limits of the table, each setting of the form name=value beside it. -1 is no limit. The error names every
// setting that is wrong.
func New(settings ...string) (*Limits, error) {
	l := &Limits{values: map[string]int64{}, verbs: map[string]*rate.Limiter{}, refused: map[string]*atomic.Uint64{}}
	table := Table()
	for _, row := range table {
		l.values[row.Name], l.refused[row.Name] = row.Value, new(atomic.Uint64)
	}
	var wrong []string
	for _, setting := range settings {
		name, text, _ := strings.Cut(setting, "=")
		i := slices.IndexFunc(table, func(row Row) bool { return row.Name == name && row.Set != "" })
		value, err := strconv.ParseInt(text, 10, 64)
		switch {
		case i < 0:
			wrong = append(wrong, fmt.Sprintf("%q cannot be set; docs/security.md lists what can", name))
		case err != nil || value < -1 || value == 0 && table[i].Fault != "413":
			wrong = append(wrong, fmt.Sprintf("%s=%q: want a number of %s, or -1 for no limit", name, text, table[i].Unit))
		default:
			l.values[name] = value
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("-limit: %s", strings.Join(wrong, "; "))
	}
	for _, name := range verbNames {
		if perMinute := float64(l.values[name]); perMinute > 0 {
			l.verbs[name] = rate.New(perMinute/60, perMinute)
		}
	}
	if perSecond := float64(l.values["write_bytes"]); perSecond > 0 {
		l.writes = rate.New(perSecond, writeBurst*perSecond)
	}
	l.doors = doors{all: l.values["connections"], each: l.values["address_connections"], refused: l.Refused}
	return l, nil
}

// Value is what a row's limit is here; -1: none.
func (l *Limits) Value(name string) int64 { return l.values[name] }

// TokenRate is how many tokens a second the identity service may give to a user, as it takes it.
func (l *Limits) TokenRate() float64 { return float64(l.Value("tokens")) }

// EnrolRate is how many enrolments a second an address may ask for.
func (l *Limits) EnrolRate() float64 {
	if rate := l.Value("enrol"); rate >= 0 {
		return float64(rate)
	}
	return 1e9
}

// Within reports whether n is within a row's limit.
func (l *Limits) Within(name string, n int64) bool { return l.values[name] < 0 || n <= l.values[name] }

// Refused counts that a limit of the table refused something; of a name that is not there nothing.
func (l *Limits) Refused(name string) {
	if count := l.refused[name]; count != nil {
		count.Add(1)
	}
}

// Over is the fault of what exceeds a row's limit.
func Over(limit string, k fault.Kind, format string, args ...any) *fault.Error {
	f := fault.Errorf(k, format, args...)
	f.Limit = limit
	return f
}

// tooFast is the fault of who has to wait.
func tooFast(limit string, wait time.Duration, format string, args ...any) *fault.Error {
	f := Over(limit, fault.TooManyRequests, format, args...)
	f.RetryAfter = wait
	return f
}

// Bounded refuses a text of a client that is longer than its limit, or has control characters other than line breaks and tabs.
func Bounded(what, text string, most int) error {
	if len(text) > most {
		return Over("description", fault.BadRequest, "Validation error: %s has more than %d bytes.", what, most)
	}
	if HasControl(text) {
		return fault.Errorf(fault.BadRequest, "Validation error: %s has control characters.", what)
	}
	return nil
}

// HasControl reports whether a text has a control character other than line breaks and tabs.
func HasControl(text string) bool {
	return strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\r' && c != '\t' })
}

// Shortened is what an agent says for a person: at most as many bytes as a message may have, whole characters.
func Shortened(text string) string {
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "")
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return -1
		}
		return c
	}, text)
}

// Count is how often a limit of the table has refused something.
func (l *Limits) Count(name string) uint64 {
	if count := l.refused[name]; count != nil {
		return count.Load()
	}
	return 0
}
