package influxdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

const callTimeout = 30 * time.Second

// query runs InfluxQL statements under the guest's account and returns the rows of the last one.
func (m *Manager) query(ctx context.Context, statements ...string) (rows [][]any, err error) {
	all, err := m.series(ctx, statements...)
	for _, s := range all {
		rows = append(rows, s.Values...)
	}
	return rows, err
}

// series is query with the names of what is returned. It comes by the server's socket, which the tenants' limit on connections does
// not count.
func (m *Manager) series(ctx context.Context, statements ...string) ([]series, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	token, err := m.token()
	if err != nil {
		return nil, err
	}
	form := url.Values{"q": {strings.Join(statements, "; ")}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://influxdb/query", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := (&http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return volume.Data(m.env).Dial(ctx, folder+"/"+socketFile)
		},
	}).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusUnauthorized {
		return nil, datastores.Errorf(datastores.Conflict, "the server does not know the guest's account any more: restart the instance")
	}
	return readSeries(resp)
}

// change runs statements that belong together: the server gives up on a client that goes away, so a cancelled call does not.
func (m *Manager) change(ctx context.Context, statements ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := m.query(context.WithoutCancel(ctx), statements...)
	return err
}

type answer struct {
	Error   string
	Results []struct {
		Error  string
		Series []series
	}
}

type series struct {
	Name    string
	Columns []string
	Values  [][]any
}

// readSeries returns what the last statement has, or the first error.
func readSeries(resp *http.Response) (last []series, err error) {
	var a answer
	d := json.NewDecoder(resp.Body)
	d.UseNumber()
	if err := d.Decode(&a); err != nil {
		return nil, fmt.Errorf("the server's answer (status %d) cannot be read: %w", resp.StatusCode, err)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	for _, r := range a.Results {
		if r.Error != "" {
			return nil, errors.New(r.Error)
		}
		last = r.Series
	}
	return last, nil
}

// identifier and text quote any name, and any literal.
func identifier(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(name) + `"`
}

func text(s string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(s) + `'`
}
