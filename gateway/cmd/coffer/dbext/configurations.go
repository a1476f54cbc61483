package dbext

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/cofferdb/coffer/datastores"
)

// Configuration is a configuration group; gophercloud's rounds large numbers and does not know the instances.
type Configuration struct {
	ID               string            `json:"id"`
	Name             string            `json:"name"`
	Description      string            `json:"description,omitempty"`
	Datastore        string            `json:"datastore_name"`
	DatastoreVersion string            `json:"datastore_version_name"`
	VersionID        string            `json:"datastore_version_id"`
	Created          Time              `json:"created"`
	Updated          Time              `json:"updated"`
	Values           datastores.Values `json:"values,omitempty"`         // this and what follows: not in lists
	Instances        *int              `json:"instance_count,omitempty"` // how many it is attached to
}

// ListConfigurations reads all of the project's groups.
func ListConfigurations(ctx context.Context, c *gophercloud.ServiceClient) ([]Configuration, error) {
	return all[Configuration](ctx, c, "configurations", endpoint(c, "configurations"))
}

// GetConfiguration reads one group.
func GetConfiguration(ctx context.Context, c *gophercloud.ServiceClient, id string) (Configuration, error) {
	return get[Configuration](ctx, c, "configuration", "configurations", id)
}

// ConfigurationOpts are a new group.
type ConfigurationOpts struct {
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Values      datastores.Values  `json:"values"`
	Datastore   *DatastoreSelector `json:"datastore,omitempty"`
}

// DatastoreSelector chooses a datastore's version; without a Version its default one.
type DatastoreSelector struct {
	Type    string `json:"type"`
	Version string `json:"version,omitempty"`
}

// CreateConfiguration makes a group.
func CreateConfiguration(ctx context.Context, c *gophercloud.ServiceClient, opts ConfigurationOpts) (Configuration, error) {
	body := map[string]ConfigurationOpts{"configuration": opts}
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "configurations"), body, http.StatusOK)
	return member[Configuration](members, "configuration", err)
}

// ConfigurationChange is what changes of a group; nil leaves as it is.
type ConfigurationChange struct {
	Name        *string            `json:"name,omitempty"`
	Description *string            `json:"description,omitempty"`
	Values      *datastores.Values `json:"values,omitempty"`
}

// SetConfiguration changes a group; its values are replaced, on the instances that it is attached to as well.
func SetConfiguration(ctx context.Context, c *gophercloud.ServiceClient, id string, to ConfigurationChange) error {
	return change(ctx, c, http.MethodPut, map[string]ConfigurationChange{"configuration": to}, "configurations", id)
}

// PatchConfiguration changes some of a group's values.
func PatchConfiguration(ctx context.Context, c *gophercloud.ServiceClient, id string, values datastores.Values) error {
	body := map[string]ConfigurationChange{"configuration": {Values: &values}}
	return change(ctx, c, http.MethodPatch, body, "configurations", id)
}

// DeleteConfiguration deletes a group that is attached to nothing.
func DeleteConfiguration(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodDelete, nil, "configurations", id)
}

// ListConfigured reads which instances a group is attached to.
func ListConfigured(ctx context.Context, c *gophercloud.ServiceClient, id string) ([]Ref, error) {
	return all[Ref](ctx, c, "instances", endpoint(c, "configurations", id, "instances"))
}

// AttachConfiguration lets a group configure an instance; "" detaches the one that does. gophercloud's way of detaching is
// not understood by every release of Trove.
func AttachConfiguration(ctx context.Context, c *gophercloud.ServiceClient, instance, id string) error {
	var configuration *string
	if id != "" {
		configuration = &id
	}
	body := map[string]any{"instance": map[string]*string{"configuration": configuration}}
	return change(ctx, c, http.MethodPut, body, "instances", instance)
}

// Parameter is what a group may set; gophercloud's has no exact limits.
type Parameter struct {
	Name            string                   `json:"name"`
	Type            datastores.ParameterType `json:"type"`
	RestartRequired bool                     `json:"restart_required"`
	Min             json.Number              `json:"min,omitempty"`
	Max             json.Number              `json:"max,omitempty"`
}

// ListParameters reads what may be set of a datastore version, both by name or id.
func ListParameters(ctx context.Context, c *gophercloud.ServiceClient, datastore, version string) ([]Parameter, error) {
	return get[[]Parameter](ctx, c, "configuration-parameters", "datastores", datastore, "versions", version, "parameters")
}
