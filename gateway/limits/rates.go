package limits

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"time"
)

// verbNames are the rows of the rates of requests, in Trove's order.
var verbNames = []string{"post", "put", "delete", "get", "mgmt_post"}

// verbOf is the row that a request counts for; "": none.
func verbOf(method string, mgmt bool) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "get"
	case http.MethodPost:
		if mgmt {
			return "mgmt_post"
		}
		return "post"
	case http.MethodPut, http.MethodPatch:
		return "put"
	case http.MethodDelete:
		return "delete"
	}
	return ""
}

// Pace refuses a request of a project that makes too many, or that writes too much, with 429. mgmt says that it is an operator's.
func (l *Limits) Pace(project, method string, body int64, mgmt bool) error {
	name := verbOf(method, mgmt)
	if wait := l.verbs[name].Take(project, 1); wait > 0 {
		return tooFast(name, wait, "The project makes more than %d %s requests a minute. Try again later.", l.Value(name), method)
	}
	if name == "get" || name == "delete" {
		return nil
	}
	return l.Writes(project, writeBytes+max(body, 0))
}

// Writes refuses with 429 what writes so many bytes for a project that has written too much. A request whose body is small and whose
// record is large is counted by what it writes, too.
func (l *Limits) Writes(project string, bytes int64) error {
	if wait := l.writes.Take(project, float64(bytes)); wait > 0 {
		return tooFast("write_bytes", wait, "The project writes more than %d bytes a second. Try again later.", l.Value("write_bytes"))
	}
	return nil
}

// Bill is what one request of a project writes beside its body. A decision that is made again pays only for what has become more.
type Bill struct {
	limits  *Limits
	project string
	paid    int64
}

// Bill begins the bill of a request.
func (l *Limits) Bill(project string) *Bill { return &Bill{limits: l, project: project} }

// Writes refuses a record, written so many times, as [Limits.Writes] does.
func (b *Bill) Writes(record any, times int64) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	due := int64(len(text))*times - b.paid
	if due <= 0 {
		return nil
	}
	if err := b.limits.Writes(b.project, due); err != nil {
		return err
	}
	b.paid += due
	return nil
}

// VerbRate is what a project has left of the requests of a verb.
type VerbRate struct {
	Verb      string // in capitals
	Value     int64  // requests a minute
	Remaining int64
	Next      time.Time // when it may make the next one
}

// Rates are what a project has left of each verb; without those that have no limit.
func (l *Limits) Rates(project string, now time.Time) (all []VerbRate) {
	for _, name := range verbNames {
		limiter := l.verbs[name]
		if limiter == nil {
			continue
		}
		left, next := limiter.Left(project), now
		if left < 1 {
			next = now.Add(time.Duration((1 - left) / (float64(l.Value(name)) / 60) * float64(time.Second)))
		}
		all = append(all, VerbRate{Verb: strings.ToUpper(name), Value: l.Value(name), Remaining: int64(math.Floor(left)), Next: next})
	}
	return all
}
