// Package dbext is what gophercloud's db/v1 packages lack: the calls of Trove that they have no function for, and
// Coffer's own. Each function takes the service client that gophercloud makes, and fails with gophercloud's errors.
// Structs hold what the gateway answers under the API's names; times are UTC, see [Time].
package dbext

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
)

// endpoint is the URL of a resource below the project's. Parts may hold anything: they are escaped.
func endpoint(c *gophercloud.ServiceClient, parts ...string) string {
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = url.PathEscape(p)
	}
	return c.ServiceURL(escaped...)
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 32 << 20

// send makes one request and returns the members of the answer; none when it has no body.
func send(ctx context.Context, c *gophercloud.ServiceClient, method, url string, body any, ok ...int) (map[string]json.RawMessage, error) {
	resp, err := c.Request(ctx, method, url, &gophercloud.RequestOpts{JSONBody: body, OkCodes: ok, KeepResponseBody: true})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(answer, &members); err != nil {
		return nil, fmt.Errorf("%s %s answered what is no JSON object: %w", method, url, err)
	}
	return members, nil
}

// get reads the member name of an answer.
func get[T any](ctx context.Context, c *gophercloud.ServiceClient, name string, parts ...string) (T, error) {
	members, err := send(ctx, c, http.MethodGet, endpoint(c, parts...), nil, http.StatusOK)
	return member[T](members, name, err)
}

func member[T any](members map[string]json.RawMessage, name string, err error) (T, error) {
	var v T
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(members[name], &v); err != nil {
		return v, fmt.Errorf("the answer's %q cannot be read: %w", name, err)
	}
	return v, nil
}

// all reads the member name of every page from url on.
func all[T any](ctx context.Context, c *gophercloud.ServiceClient, name, url string) ([]T, error) {
	items := []T{}
	for url != "" {
		members, err := send(ctx, c, http.MethodGet, url, nil, http.StatusOK)
		page, err := member[[]T](members, name, err)
		if err != nil {
			return nil, err
		}
		items = append(items, page...)
		var links []gophercloud.Link
		if raw, more := members["links"]; more {
			if err := json.Unmarshal(raw, &links); err != nil {
				return nil, fmt.Errorf("the answer's links cannot be read: %w", err)
			}
		}
		if url, err = gophercloud.ExtractNextURL(links); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// change makes a request whose answer has no body, or none of interest.
func change(ctx context.Context, c *gophercloud.ServiceClient, method string, body any, parts ...string) error {
	_, err := send(ctx, c, method, endpoint(c, parts...), body, http.StatusOK, http.StatusAccepted, http.StatusNoContent)
	return err
}
