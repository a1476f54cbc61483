package dbext

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// Window is some hours on days of each week, in which an operator may interrupt an instance.
type Window struct {
	Days    []string `json:"days"`  // mon, tue, wed, thu, fri, sat, sun
	Start   string   `json:"start"` // 02:30
	Minutes int      `json:"duration_minutes"`
	Zone    string   `json:"timezone,omitempty"` // "": UTC
}

// Maintenance is when an operator may interrupt an instance, and what waits for that.
type Maintenance struct {
	Window  *Window `json:"window"`
	Default bool    `json:"default"` // it is the project's
	Next    Time    `json:"next"`
	Pending *struct {
		Action  string `json:"action"` // upgrade, restart
		Version string `json:"datastore_version,omitempty"`
		User    string `json:"user,omitempty"`
		Asked   Time   `json:"asked"`
		Reason  string `json:"reason,omitempty"` // why it could not begin
	} `json:"pending"`
	Last *struct {
		Action  string `json:"action"`
		Version string `json:"datastore_version,omitempty"`
		Began   Time   `json:"began"`
	} `json:"last"`
}

// SetWindow gives an instance, with its set or cluster, a maintenance window; nil: the project's.
func SetWindow(ctx context.Context, c *gophercloud.ServiceClient, instance string, w *Window) error {
	return change(ctx, c, http.MethodPatch, map[string]any{"instance": map[string]any{"maintenance_window": w}}, "instances", instance)
}

// DefaultWindow reads the window of a project's instances that have none of their own; nil: there is none.
func DefaultWindow(ctx context.Context, c *gophercloud.ServiceClient) (*Window, error) {
	return get[*Window](ctx, c, "maintenance_window", "maintenance")
}

// SetDefaultWindow gives a project another default window; nil: none.
func SetDefaultWindow(ctx context.Context, c *gophercloud.ServiceClient, w *Window) error {
	return change(ctx, c, http.MethodPut, map[string]any{"maintenance_window": w}, "maintenance")
}

// AskUpgrade asks, as an operator, for an upgrade in the maintenance window of an instance.
func AskUpgrade(ctx context.Context, c *gophercloud.ServiceClient, instance, version string) error {
	return change(ctx, c, http.MethodPost, map[string]any{"upgrade": map[string]any{"datastore_version": version, "when": "window"}}, "mgmt", "instances", instance, "action")
}

// AskRestart asks, as an operator, for a restart in the maintenance window of an instance.
func AskRestart(ctx context.Context, c *gophercloud.ServiceClient, instance string) error {
	return change(ctx, c, http.MethodPost, map[string]any{"reboot": map[string]any{"when": "window"}}, "mgmt", "instances", instance, "action")
}

// EndMaintenance begins what waits for an instance's window at once, or cancels it.
func EndMaintenance(ctx context.Context, c *gophercloud.ServiceClient, instance string, begin bool) error {
	action := map[bool]string{true: "begin_maintenance", false: "cancel_maintenance"}[begin]
	return change(ctx, c, http.MethodPost, map[string]any{action: map[string]any{}}, "instances", instance, "action")
}
