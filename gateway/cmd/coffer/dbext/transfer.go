package dbext

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// ExportItem is one backup of an export: what tells it from others, and what it takes to order it elsewhere.
type ExportItem struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Instance    string `json:"instance_id,omitempty"`
	Created     string `json:"created,omitempty"`
	RestoreFrom
}

// RestoreFrom says of what a backup is that is brought in.
type RestoreFrom struct {
	Datastore string          `json:"datastore"`
	Version   string          `json:"datastore_version"`
	Strategy  string          `json:"strategy,omitempty"` // "": the version's own
	Tool      string          `json:"tool,omitempty"`     // the engine's own program that has made it, in place of a strategy
	Size      float64         `json:"size"`               // GB of data on a volume
	Bytes     int64           `json:"bytes,omitempty"`    // of what is sent, before compression; 0: nobody knows
	Meta      json.RawMessage `json:"meta,omitempty"`     // the strategy's own
	Fixed     json.RawMessage `json:"fixed,omitempty"`    // parameters that fix the format of the data
}

// GetExport reads of what backups an export consists, the full one first.
func GetExport(ctx context.Context, c *gophercloud.ServiceClient, id string) ([]ExportItem, error) {
	export, err := get[struct {
		Format  int          `json:"format"`
		Backups []ExportItem `json:"backups"`
	}](ctx, c, "export", "backups", id, "export")
	if err == nil && (export.Format != 1 || len(export.Backups) == 0) {
		err = fmt.Errorf("the gateway exports backups in format %d, and this program knows format 1: use its own release of this program", export.Format)
	}
	return export.Backups, err
}

// OrderImport asks for a backup that is brought in, on one that was before; parent "": it is a full one. It waits for its content.
func OrderImport(ctx context.Context, c *gophercloud.ServiceClient, name, description, parent string, from RestoreFrom) (Backup, error) {
	body := map[string]any{"backup": map[string]any{"name": name, "description": description, "parent_id": parent, "restore_from": from}}
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "backups"), body, http.StatusAccepted)
	return member[Backup](members, "backup", err)
}

// Zstd is the media type of what is compressed so; Octets of what is not compressed.
const (
	Zstd   = "application/zstd"
	Octets = "application/octet-stream"
)

// ReadContent opens what a backup holds, zstd-compressed and of size bytes. It must be closed.
func ReadContent(ctx context.Context, c *gophercloud.ServiceClient, id string) (content io.ReadCloser, size int64, err error) {
	resp, err := transfer(ctx, c, http.MethodGet, id, "", 0, nil)
	if err != nil {
		return nil, 0, err
	}
	if resp.ContentLength < 0 {
		_ = resp.Body.Close()
		return nil, 0, fmt.Errorf("the gateway does not say how much backup %s holds", id)
	}
	return resp.Body, resp.ContentLength, nil
}

// SendContent sends what a backup holds that was ordered, and returns the backup, which is complete; size -1: nobody knows it.
func SendContent(ctx context.Context, c *gophercloud.ServiceClient, id, media string, size int64, content io.Reader) (Backup, error) {
	resp, err := transfer(ctx, c, http.MethodPut, id, media, size, content)
	if err != nil {
		return Backup{}, err
	}
	defer resp.Body.Close()
	var members map[string]json.RawMessage
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&members)
	return member[Backup](members, "backup", err)
}

// transfer makes a request that may take as long as its context lets it, which no other request may.
func transfer(ctx context.Context, c *gophercloud.ServiceClient, method, id, media string, size int64, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, endpoint(c, "backups", id, "content"), body)
	if err != nil {
		return nil, err
	}
	for name, value := range c.AuthenticatedHeaders() {
		req.Header.Set(name, value)
	}
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", media)
		req.Header.Set("Expect", "100-continue") // a refusal comes before anything is sent
	}
	client := c.HTTPClient
	client.Timeout = 0
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return nil, gophercloud.ErrUnexpectedResponseCode{
		URL: req.URL.String(), Method: method, Expected: []int{http.StatusOK}, Actual: resp.StatusCode, Body: answer, ResponseHeader: resp.Header,
	}
}
