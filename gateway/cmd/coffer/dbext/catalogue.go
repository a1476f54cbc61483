package dbext

import (
	"context"

	"github.com/gophercloud/gophercloud/v2"
)

// Flavor is a size of an instance; gophercloud's has no processors and no disk.
type Flavor struct {
	ID    string `json:"str_id"`
	Name  string `json:"name"`
	RAM   int    `json:"ram"` // MB
	VCPUs int    `json:"vcpus"`
	Disk  int    `json:"disk"` // GB
}

// ListFlavors reads all flavors, the smallest first.
func ListFlavors(ctx context.Context, c *gophercloud.ServiceClient) ([]Flavor, error) {
	return get[[]Flavor](ctx, c, "flavors", "flavors")
}

// DatastoreInfo is a datastore on offer; gophercloud's has no description.
type DatastoreInfo struct {
	ID             string    `json:"id"`
	Name           string    `json:"name"`
	Description    string    `json:"description,omitempty"`
	DefaultVersion string    `json:"default_version,omitempty"` // its id
	Versions       []Version `json:"versions"`
}

// Version is a datastore version.
type Version struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Number string `json:"version,omitempty"` // the server's
	Active *bool  `json:"active,omitempty"`  // told to admins only, as the rest
	// Unserved says why no host can serve it.
	Unserved string `json:"unserved,omitempty"`
}

// ListDatastores reads what is on offer.
func ListDatastores(ctx context.Context, c *gophercloud.ServiceClient) ([]DatastoreInfo, error) {
	return get[[]DatastoreInfo](ctx, c, "datastores", "datastores")
}

// GetDatastore reads one, by name or id.
func GetDatastore(ctx context.Context, c *gophercloud.ServiceClient, ref string) (DatastoreInfo, error) {
	return get[DatastoreInfo](ctx, c, "datastore", "datastores", ref)
}

// Problem is something wrong with what operators have defined.
type Problem struct {
	Key     string `json:"key"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	InForce bool   `json:"in_force"` // the last good revision is
}

// ListProblems reads what the gateway finds wrong with the definitions. For admins.
func ListProblems(ctx context.Context, c *gophercloud.ServiceClient) ([]Problem, error) {
	return get[[]Problem](ctx, c, "problems", "mgmt", "datastore-problems")
}
