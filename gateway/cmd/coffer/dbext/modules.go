package dbext

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// Module is a bundle of configuration for instances. Of one that an instance has, Status, Message and Outdated are known too.
type Module struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Type          string `json:"type"`
	Description   string `json:"description"`
	Tenant        string `json:"tenant"` // "all" or a project
	Datastore     string `json:"datastore"`
	Version       string `json:"datastore_version"`
	AutoApply     bool   `json:"auto_apply"`
	PriorityApply bool   `json:"priority_apply"`
	ApplyOrder    int    `json:"apply_order"`
	IsAdmin       bool   `json:"is_admin"` // only admins change it
	LiveUpdate    bool   `json:"live_update"`
	Visible       bool   `json:"visible"`
	MD5           string `json:"md5"`
	Instances     int    `json:"instance_count"`
	Reapplying    bool   `json:"reapplying"`
	Created       Time   `json:"created"`
	Updated       Time   `json:"updated"`

	Status   string `json:"status,omitempty"`
	Message  string `json:"message,omitempty"`
	Outdated bool   `json:"outdated,omitempty"` // something else is in the module now
}

// ListModules reads the modules that the project sees.
func ListModules(ctx context.Context, c *gophercloud.ServiceClient) ([]Module, error) {
	return all[Module](ctx, c, "modules", endpoint(c, "modules"))
}

// GetModule reads one module.
func GetModule(ctx context.Context, c *gophercloud.ServiceClient, id string) (Module, error) {
	return get[Module](ctx, c, "module", "modules", id)
}

// CreateModule makes a module; fields are those of the API.
func CreateModule(ctx context.Context, c *gophercloud.ServiceClient, fields map[string]any) (Module, error) {
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "modules"), map[string]any{"module": fields}, http.StatusOK)
	return member[Module](members, "module", err)
}

// UpdateModule changes the fields that are given.
func UpdateModule(ctx context.Context, c *gophercloud.ServiceClient, id string, fields map[string]any) (Module, error) {
	members, err := send(ctx, c, http.MethodPut, endpoint(c, "modules", id), map[string]any{"module": fields}, http.StatusOK)
	return member[Module](members, "module", err)
}

// DeleteModule deletes a module that no instance has.
func DeleteModule(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodDelete, nil, "modules", id)
}

// ListModuleInstances reads the instances that have a module.
func ListModuleInstances(ctx context.Context, c *gophercloud.ServiceClient, id string) ([]Instance, error) {
	return all[Instance](ctx, c, "instances", endpoint(c, "modules", id, "instances"))
}

// ReapplyModule begins to apply a module again to the instances that have it; fields are those of the API.
func ReapplyModule(ctx context.Context, c *gophercloud.ServiceClient, id string, fields map[string]any) error {
	return change(ctx, c, http.MethodPut, map[string]any{"reapply": fields}, "modules", id, "instances")
}

// ListApplied reads the modules that an instance has.
func ListApplied(ctx context.Context, c *gophercloud.ServiceClient, instance string) ([]Module, error) {
	return all[Module](ctx, c, "modules", endpoint(c, "instances", instance, "modules"))
}

// ApplyModules brings modules to an instance, and returns what has become of them.
func ApplyModules(ctx context.Context, c *gophercloud.ServiceClient, instance string, ids []string) ([]Module, error) {
	body := map[string]any{"modules": moduleRefs(ids)}
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "instances", instance, "modules"), body, http.StatusOK)
	return member[[]Module](members, "modules", err)
}

// RemoveModule takes a module from an instance.
func RemoveModule(ctx context.Context, c *gophercloud.ServiceClient, instance, id string) error {
	return change(ctx, c, http.MethodDelete, nil, "instances", instance, "modules", id)
}

func moduleRefs(ids []string) []ModuleRef {
	refs := []ModuleRef{}
	for _, id := range ids {
		refs = append(refs, ModuleRef{id})
	}
	return refs
}
