package dbext

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Plan is what a request would do. It ends a command in place of an answer.
type Plan struct {
	Raw        json.RawMessage
	Operation  string   `json:"operation"`
	Restart    bool     `json:"restart"`
	ReadOnly   bool     `json:"read_only"`
	Seconds    *float64 `json:"seconds"`
	Parameters []string `json:"restart_required_by"`
	Steps      []struct {
		Step     string `json:"step"`
		Instance string `json:"instance_id"`
		Does     string `json:"does"`
		Without  string `json:"without"`
	} `json:"steps"`
	Changes []struct {
		Record  string `json:"record"`
		ID      string `json:"id"`
		WouldBe string `json:"would_be"`
	} `json:"changes"`
}

func (f *Plan) Error() string { return "this is a dry run: nothing was done" }

// DryRun asks the database service what each request would do that changes something. Others, and those of the identity service, go as they are.
type DryRun struct{ Next http.RoundTripper }

func (d DryRun) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet || req.Method == http.MethodHead || !strings.Contains(req.URL.Path, "/v1.0/") {
		return d.Next.RoundTrip(req)
	}
	asked := req.Clone(req.Context())
	query := asked.URL.Query()
	query.Set("dry_run", "true")
	asked.URL.RawQuery = query.Encode()
	resp, err := d.Next.RoundTrip(asked)
	if err != nil || resp.StatusCode >= http.StatusBadRequest {
		return resp, err
	}
	defer resp.Body.Close()
	var answer struct {
		Plan json.RawMessage `json:"plan"`
	}
	f := &Plan{}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Plan == nil {
		return nil, fmt.Errorf("the gateway has answered without a plan: it knows no dry run, and has done what was asked")
	}
	f.Raw = answer.Plan
	return nil, errors.Join(json.Unmarshal(answer.Plan, f), f)
}
