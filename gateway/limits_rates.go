package gateway

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// verbNames are the rows of the rates of requests, in Trove's order.
var verbNames = []string{"post", "put", "delete", "get", "mgmt_post"}

// verbOf is the row that a request counts for; "": none.
func verbOf(method, path string) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "get"
	case http.MethodPost:
		if strings.HasPrefix(path, tenant+"/mgmt/") {
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

// pace refuses a request of a project that makes too many, or that writes too much, with 429.
func (l *Limits) pace(r *request, path string) error {
	req := r.echo.Request()
	name := verbOf(req.Method, path)
	if wait := l.verbs[name].Take(r.project, 1); wait > 0 {
		return tooFast(name, wait, "The project makes more than %d %s requests a minute. Try again later.", l.value(name), req.Method)
	}
	if name == "get" || name == "delete" {
		return nil
	}
	if wait := l.writes.Take(r.project, float64(writeBytes+max(req.ContentLength, 0))); wait > 0 {
		return tooFast("write_bytes", wait, "The project writes more than %d bytes a second. Try again later.", l.value("write_bytes"))
	}
	return nil
}

// rateView is a row of `limits` as Trove's clients read it.
type rateView struct {
	Verb          string `json:"verb"`
	URI           string `json:"uri"`
	Regex         string `json:"regex"`
	Value         int64  `json:"value"`
	Unit          string `json:"unit"`
	Remaining     int64  `json:"remaining"`
	NextAvailable string `json:"nextAvailable"`
}

// rates are what a project has left of each; without those that have no limit.
func (l *Limits) rates(project string, now time.Time) (views []any) {
	for _, name := range verbNames {
		limiter := l.verbs[name]
		if limiter == nil {
			continue
		}
		left, next := limiter.Left(project), now
		if left < 1 {
			next = now.Add(time.Duration((1 - left) / (float64(l.value(name)) / 60) * float64(time.Second)))
		}
		views = append(views, rateView{
			Verb: strings.ToUpper(name), URI: "*", Regex: ".*", Value: l.value(name), Unit: "MINUTE",
			Remaining: int64(math.Floor(left)), NextAvailable: stamp(next),
		})
	}
	return views
}
