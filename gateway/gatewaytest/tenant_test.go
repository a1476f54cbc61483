package gatewaytest_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// tenant asks as a sane client does: what got no answer, or one that says that the server could not, is asked again.
type tenant struct{ gatewaytest.Client }

const patience = 90 * time.Second // for an answer

// ask asks until there is an answer that means something. again tells that it took more than one try: then an earlier
// one may have been heard.
func (c tenant) ask(method, path, body string) (a gatewaytest.Answer, again bool, err error) {
	tries := 0
	if until.Holds(patience, func() bool {
		tries++
		a, err = c.Try(method, path, body)
		return err == nil && final(a.Status)
	}) {
		return a, tries > 1, nil
	}
	return a, tries > 1, errors.Join(fmt.Errorf("%s %s: nobody could for %s; last answer: %d %s", method, path, patience, a.Status, a.Body), err)
}

func final(status int) bool {
	return status < 500 && status != http.StatusTooManyRequests || status == http.StatusNotImplemented
}

// do asks for something to be done. When it took several tries an answer of which done, if any, says so means success, too.
func (c tenant) do(t *testing.T, want int, done func(gatewaytest.Answer) bool, method, path, body string) gatewaytest.Answer {
	t.Helper()
	a, again, err := c.ask(method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != want && !(again && done != nil && done(a)) {
		t.Fatalf("%s %s: status %d, want %d (asked again: %t): %s", method, path, a.Status, want, again, a.Body)
	}
	return a
}

// What the answer to a repeated request looks like when the first was heard.
func exists(a gatewaytest.Answer) bool {
	text := string(a.Body)
	return a.Status == http.StatusBadRequest && (strings.Contains(text, "exists") || strings.Contains(text, "already"))
}
func gone(a gatewaytest.Answer) bool { return a.Status == http.StatusNotFound }
func busy(a gatewaytest.Answer) bool { return a.Status == http.StatusUnprocessableEntity }

// create asks for an instance of that name, which nobody else uses, and returns its id; more is further JSON of it. Before
// asking again it looks for the one that it may have made.
func (c tenant) create(t *testing.T, name string, d datastore, more string) string {
	t.Helper()
	body := fmt.Sprintf(`{"instance":{"name":%q,"flavorRef":1,"volume":{"size":1},"datastore":{"type":%q}%s}}`, name, d, more)
	id := ""
	until.True(t, patience, "instance "+name+" is created", func() bool {
		a, err := c.Try(http.MethodPost, "/instances", body)
		if err == nil && a.Status == http.StatusOK {
			id = a.Text("instance", "id")
		} else if err == nil && final(a.Status) {
			t.Fatalf("create %s: %d %s", name, a.Status, a.Body)
		} else if ids := c.named(t, name); len(ids) > 0 {
			id = ids[0]
		}
		return id != ""
	})
	return id
}

// named lists the instances of that name.
func (c tenant) named(t *testing.T, name string) []string {
	t.Helper()
	a := c.do(t, http.StatusOK, nil, http.MethodGet, "/instances", "")
	var ids []string
	for i := 0; a.At("instances", i) != nil; i++ {
		if a.Text("instances", i, "name") == name {
			ids = append(ids, a.Text("instances", i, "id"))
		}
	}
	return ids
}

// settled waits until nothing is being done to an instance and returns its last sight: ACTIVE, ERROR, or not there.
func (c tenant) settled(t *testing.T, id string) gatewaytest.Answer {
	t.Helper()
	var a gatewaytest.Answer
	var status string
	if !until.Holds(patience, func() (settled bool) {
		var err error
		if a, _, err = c.ask(http.MethodGet, gatewaytest.Instance(id), ""); err != nil {
			t.Fatal(err)
		}
		status = a.Text("instance", "status")
		return a.Status == http.StatusNotFound || status == "ACTIVE" || status == "ERROR"
	}) {
		why, _, _ := c.ask(http.MethodGet, gatewaytest.Instance(id)+"/why", "")
		t.Fatalf("instance %s is %s for %s: %s", id, status, patience, why.Text("why", "summary"))
	}
	return a
}

// events returns the messages of an instance's timeline.
func (c tenant) events(t *testing.T, id string) []string {
	t.Helper()
	var messages []string
	for marker := ""; ; {
		a := c.do(t, http.StatusOK, nil, http.MethodGet, gatewaytest.Instance(id)+"/events?marker="+marker, "")
		n := len(messages)
		for i := 0; a.At("events", i) != nil; i++ {
			messages = append(messages, a.Text("events", i, "message"))
			marker = a.Text("events", i, "id")
		}
		if len(messages) == n {
			return messages
		}
	}
}
