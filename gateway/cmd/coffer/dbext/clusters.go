package dbext

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// Cluster is several database servers that are one.
type Cluster struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	Task          Task              `json:"task"`
	Datastore     Datastore         `json:"datastore"`
	Members       []Member          `json:"instances"`
	Locality      string            `json:"locality,omitempty"`
	Configuration *Ref              `json:"configuration,omitempty"`
	Project       string            `json:"tenant_id,omitempty"` // told to admins only
	Extended      map[string]int    `json:"extended_properties,omitempty"`
	Created       Time              `json:"created,omitzero"`
	Updated       Time              `json:"updated,omitzero"`
	Connections   map[string]string `json:"connections,omitempty"` // what clients connect with; not in lists
	Fault         *Fault            `json:"fault,omitempty"`       // why the last operation failed
	Password      string            `json:"password,omitempty"`    // of root, in the answer to a create of some datastores
}

// Busy reports whether something is being done to the cluster.
func (c Cluster) Busy() bool { return c.Task.Name != "NONE" }

// Task is what is being done to a cluster; its name is NONE when nothing is.
type Task struct {
	ID          int    `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Member is a server of a cluster.
type Member struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	Shard  string    `json:"shard_id,omitempty"` // the part of the data that it has; "": all of it
	Status string    `json:"status"`
	Volume *Volume   `json:"volume,omitempty"`
	Flavor FlavorRef `json:"flavor"`
	IP     []string  `json:"ip"`
}

// ListClusters reads all of the project's clusters, page by page.
func ListClusters(ctx context.Context, c *gophercloud.ServiceClient) ([]Cluster, error) {
	return all[Cluster](ctx, c, "clusters", endpoint(c, "clusters"))
}

// ListAllClusters reads those of all projects. For admins.
func ListAllClusters(ctx context.Context, c *gophercloud.ServiceClient) ([]Cluster, error) {
	return all[Cluster](ctx, c, "clusters", endpoint(c, "mgmt", "clusters"))
}

// GetCluster reads one cluster.
func GetCluster(ctx context.Context, c *gophercloud.ServiceClient, id string) (Cluster, error) {
	return get[Cluster](ctx, c, "cluster", "clusters", id)
}

// ClusterOpts are what a cluster is made of.
type ClusterOpts struct {
	Name          string         `json:"name"`
	Datastore     Datastore      `json:"datastore"`
	Members       []MemberOpts   `json:"instances"`
	Locality      string         `json:"locality,omitempty"`
	Configuration string         `json:"configuration,omitempty"` // id
	Extended      map[string]int `json:"extended_properties,omitempty"`
	RestorePoint  *ClusterOrigin `json:"restorePoint,omitempty"`
}

// ClusterOrigin is what a cluster begins with.
type ClusterOrigin struct {
	Backup  string `json:"backupRef"`            // id
	Project string `json:"project_id,omitempty"` // whose it is; "": the caller's
}

// MemberOpts are what a member of a cluster is made of.
type MemberOpts struct {
	Flavor string  `json:"flavorRef"`
	Volume *Volume `json:"volume,omitempty"`
	Zone   string  `json:"availability_zone,omitempty"` // of its host; "": any
	Access *Access `json:"access,omitempty"`            // nil: everybody who can route there
	// Modules that it begins with.
	Modules []ModuleRef `json:"modules,omitempty"`
}

// ModuleRef names a module.
type ModuleRef struct {
	ID string `json:"id"`
}

// CreateCluster asks for a cluster, which is being made then.
func CreateCluster(ctx context.Context, c *gophercloud.ServiceClient, opts ClusterOpts) (Cluster, error) {
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "clusters"), map[string]any{"cluster": opts}, http.StatusOK)
	return member[Cluster](members, "cluster", err)
}

// DeleteCluster deletes a cluster with all its members.
func DeleteCluster(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodDelete, nil, "clusters", id)
}

// Grow adds members to a cluster.
func Grow(ctx context.Context, c *gophercloud.ServiceClient, id string, members []MemberOpts) error {
	return ActOnCluster(ctx, c, id, "grow", members)
}

// Shrink takes members out of a cluster, by their ids, and deletes them. When they are lost they are not asked for what they have.
func Shrink(ctx context.Context, c *gophercloud.ServiceClient, id string, members []string, lost bool) error {
	type going struct {
		ID   string `json:"id"`
		Lost bool   `json:"lost,omitempty"`
	}
	var all []going
	for _, m := range members {
		all = append(all, going{m, lost})
	}
	return ActOnCluster(ctx, c, id, "shrink", all)
}

// ActOnCluster asks for an action; args nil: it takes nothing.
func ActOnCluster(ctx context.Context, c *gophercloud.ServiceClient, id, action string, args any) error {
	if args == nil {
		args = struct{}{}
	}
	return change(ctx, c, http.MethodPost, map[string]any{action: args}, "clusters", id)
}

// ClusterRoot reports whether root may log in to a cluster.
func ClusterRoot(ctx context.Context, c *gophercloud.ServiceClient, id string) (bool, error) {
	return get[bool](ctx, c, "rootEnabled", "clusters", id, "root")
}

// EnableClusterRoot lets root in at all members, with the given password or, for "", one that the gateway makes.
func EnableClusterRoot(ctx context.Context, c *gophercloud.ServiceClient, id, password string) (Root, error) {
	return enableRoot(ctx, c, endpoint(c, "clusters", id, "root"), password)
}
