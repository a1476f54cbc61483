package gatewaytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// Client asks a gateway with a token.
type Client struct {
	URL     string // of the gateway
	Token   string
	Project string
	HTTP    *http.Client // nil: one with a timeout of its own
}

// Client of the gateway for a token of Project.
func (g *Gateway) Client(token string) Client {
	return Client{URL: g.URL, Token: token, Project: Project}
}

// Answer is what a gateway answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do asks for a path below the project, such as "/instances". body is JSON text, or "". It fails the test only when
// there is no answer at all.
func (c Client) Do(t testing.TB, method, path, body string) Answer {
	t.Helper()
	answer, err := c.Try(method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// Try is Do that returns the error when there is no answer.
func (c Client) Try(method, path, body string) (Answer, error) {
	req, err := http.NewRequest(method, c.URL+"/v1.0/"+c.Project+path, bytes.NewBufferString(body))
	if err != nil {
		return Answer{}, err
	}
	if c.Token != "" {
		req.Header.Set("X-Auth-Token", c.Token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{Timeout: 60 * time.Second}
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return Answer{resp.StatusCode, resp.Header, b}, err
}

// Want asks and fails the test unless the status is as wanted.
func (c Client) Want(t testing.TB, status int, method, path, body string) Answer {
	t.Helper()
	a := c.Do(t, method, path, body)
	if a.Status != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, a.Status, status, a.Body)
	}
	return a
}

// At digs a value out of the answer's JSON: keys for objects, numbers for arrays; nil when it is not there.
func (a Answer) At(path ...any) any {
	var v any
	if json.Unmarshal(a.Body, &v) != nil {
		return nil
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			s, _ := v.([]any)
			if p >= len(s) {
				return nil
			}
			v = s[p]
		}
	}
	return v
}

// Text is At for a string; "" when there is none.
func (a Answer) Text(path ...any) string {
	s, _ := a.At(path...).(string)
	return s
}

// Instance is the path of an instance.
func Instance(id string) string { return "/instances/" + id }

// Await polls an instance until its status is wanted, and returns the answer. It fails the test when the instance comes to
// ERROR instead, or when it takes longer than within.
func (c Client) Await(t testing.TB, id, status string, within time.Duration) Answer {
	t.Helper()
	var a Answer
	err := c.until(within, func() (bool, error) {
		var err error
		if a, err = c.Try(http.MethodGet, Instance(id), ""); err != nil {
			return false, nil // a gateway may be away
		}
		now := a.Text("instance", "status")
		if now == "ERROR" && status != "ERROR" {
			return false, fmt.Errorf("instance %s came to ERROR: %s", id, a.Text("instance", "fault", "message"))
		}
		return now == status, nil
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v; last answer: %s", status, err, a.Body)
	}
	return a
}

// AwaitGone polls until the instance is not there any more.
func (c Client) AwaitGone(t testing.TB, id string, within time.Duration) {
	t.Helper()
	var a Answer
	err := c.until(within, func() (bool, error) {
		var err error
		a, err = c.Try(http.MethodGet, Instance(id), "")
		return err == nil && a.Status == http.StatusNotFound, nil
	})
	if err != nil {
		t.Fatalf("waiting for the end of %s: %v; last answer: %s", id, err, a.Body)
	}
}

// AwaitHost polls, as an admin, until the host is connected.
func (c Client) AwaitHost(t testing.TB, id string) {
	t.Helper()
	err := c.until(10*time.Second, func() (bool, error) {
		a, err := c.Try(http.MethodGet, "/mgmt/hosts", "")
		if err != nil {
			return false, err
		}
		for i := 0; a.At("hosts", i) != nil; i++ {
			if a.Text("hosts", i, "id") == id && a.At("hosts", i, "connected") == true {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		t.Fatalf("waiting for host %s: %v", id, err)
	}
}

// Create asks for an instance of the datastore "memory" and returns its id. extra is further JSON of the instance, such
// as `,"databases":[{"name":"a"}]`.
func (c Client) Create(t testing.TB, name, extra string) string {
	t.Helper()
	a := c.Want(t, http.StatusOK, http.MethodPost, "/instances",
		fmt.Sprintf(`{"instance":{"name":%q,"flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"}%s}}`, name, extra))
	return a.Text("instance", "id")
}

func (c Client) until(within time.Duration, done func() (bool, error)) error {
	var ok bool
	var err error
	if !until.Holds(within, func() bool {
		ok, err = done()
		return ok || err != nil
	}) {
		return fmt.Errorf("not within %s", within)
	}
	return err
}
