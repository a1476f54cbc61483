package couchbase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// Ports, by the documents; encrypted ones are not used.
const (
	restPort  = 8091
	queryPort = 8093
	dataPort  = 11210
)

// peerPorts are those at which nodes speak to each other.
func peerPorts() []datastores.PortRange {
	return []datastores.PortRange{
		{First: 4369, Last: 4369}, {First: 8091, Last: 8094}, {First: 9100, Last: 9105}, {First: 9999, Last: 9999}, {First: 11209, Last: 11210},
		{First: 18091, Last: 18094}, {First: 19102, Last: 19102}, {First: 21100, Last: 21100}, {First: 21150, Last: 21150},
	}
}

const (
	callTimeout = 60 * time.Second
	maxAnswer   = 64 << 20
)

// refusal is an answer of the server that says no.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server answers %d: %s", r.status, r.text)
}

// isStatus reports whether err is a refusal of that status.
func isStatus(err error, status int) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == status
}

// says reports whether err is a refusal with that text.
func says(err error, text string) bool {
	var r *refusal
	return errors.As(err, &r) && strings.Contains(strings.ToLower(r.text), text)
}

// call asks the server by its management REST, under the guest's account. The parts of the path that are names have been escaped, see name. A form
// is sent, out, which may be nil, is filled.
func (m *Manager) call(ctx context.Context, method, path string, form url.Values, out any) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	return m.ask(ctx, id.Admin, method, path, form, out)
}

// ask is call with a password; "" is without one.
func (m *Manager) ask(ctx context.Context, password, method, path string, form url.Values, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	at := "http://" + net.JoinHostPort(m.env.Address, strconv.Itoa(restPort)) + path
	req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if password != "" {
		req.SetBasicAuth(adminUser, password)
	}
	// Each time anew: that is seldom, and no connection can be left over from before a restart.
	resp, err := (&http.Transport{DisableKeepAlives: true, DialContext: service.Dialer(m.env.Address).DialContext}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusUnauthorized:
		return datastores.Errorf(datastores.Conflict, "the server does not know the guest's account any more")
	case resp.StatusCode/100 != 2:
		return &refusal{resp.StatusCode, textOf(body)}
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("the server's answer to %s %s cannot be read: %w", method, path, err)
	}
	return nil
}

// textOf is what an answer says, which may be a text, a list of texts, or an object with texts by parameter. What is meant for parameters that hold secrets is
// said without these.
func textOf(body []byte) string {
	var any any
	if json.Unmarshal(body, &any) != nil {
		return strings.TrimSpace(string(body[:min(len(body), 300)]))
	}
	return strings.Join(textsOf(any), "; ")
}

func textsOf(v any) (texts []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			texts = append(texts, textsOf(one)...)
		}
	case map[string]any:
		if errors, ok := v["errors"]; ok { // beside it are summaries
			return textsOf(errors)
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			switch said := textsOf(v[name]); {
			case len(said) == 0:
				texts = append(texts, name)
			default:
				texts = append(texts, said...)
			}
		}
	}
	return texts
}

// name is a name in a path.
func name(s string) string { return "/" + url.PathEscape(s) }
