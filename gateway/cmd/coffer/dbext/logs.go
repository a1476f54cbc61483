package dbext

import (
	"context"
	"io"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// Log is a log of an instance's server.
type Log struct {
	Name      string `json:"name"`
	Type      string `json:"type"` // SYS, or USER: tenants turn it on and off
	Status    string `json:"status"`
	Published int64  `json:"published"` // bytes
	Pending   int64  `json:"pending"`   // bytes
}

// ListLogs reads what logs there are.
func ListLogs(ctx context.Context, c *gophercloud.ServiceClient, instance string) ([]Log, error) {
	return get[[]Log](ctx, c, "logs", "instances", instance, "log")
}

// ActOnLog does something with a log: enable, disable, publish or discard; with "" it reads how the log is.
func ActOnLog(ctx context.Context, c *gophercloud.ServiceClient, instance, name, action string) (Log, error) {
	body := map[string]any{"name": name}
	if action != "" {
		body[action] = 1
	}
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "instances", instance, "log"), body, http.StatusOK)
	return member[Log](members, "log", err)
}

// ReadLog writes to w everything that was published of a log.
func ReadLog(ctx context.Context, c *gophercloud.ServiceClient, instance, name string, w io.Writer) error {
	resp, err := c.Request(ctx, http.MethodGet, endpoint(c, "instances", instance, "log", name), &gophercloud.RequestOpts{
		MoreHeaders: map[string]string{"Accept": "text/plain"}, OkCodes: []int{http.StatusOK}, KeepResponseBody: true,
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}
