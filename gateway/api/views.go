package api

import (
	"cmp"
	"math"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// instanceView is an instance as clients see it: trove-api v1.0, the list's keys first, then those of the detail.
type instanceView struct {
	ID              string         `json:"id"`
	Name            string         `json:"name"`
	Status          string         `json:"status"`
	OperatingStatus string         `json:"operating_status"`
	Links           []link         `json:"links"`
	Flavor          flavorRef      `json:"flavor"`
	Datastore       datastoreRef   `json:"datastore"`
	Region          string         `json:"region"`
	Access          control.Access `json:"access"`
	TenantID        string         `json:"tenant_id,omitempty"` // admins only
	Volume          *volumeView    `json:"volume,omitempty"`
	IP              []string       `json:"ip,omitempty"`
	Addresses       []addressView  `json:"addresses"`
	ReplicaOf       *memberRef     `json:"replica_of,omitempty"`
	Locality        string         `json:"locality,omitempty"`
	Zone            string         `json:"availability_zone,omitempty"` // beyond Trove: as it was asked for
	Replicas        []memberRef    `json:"replicas,omitempty"`
	ClusterID       string         `json:"cluster_id,omitempty"`
	ShardID         string         `json:"shard_id,omitempty"`

	*instanceDetail
}

// instanceDetail is what only a single instance and the detailed list show.
type instanceDetail struct {
	Created              string     `json:"created"`
	Protected            bool       `json:"deletion_protection"` // beyond Trove
	Updated              string     `json:"updated"`
	ServiceStatusUpdated string     `json:"service_status_updated,omitempty"`
	Configuration        *memberRef `json:"configuration,omitempty"`
	Fault                *faultView `json:"fault,omitempty"`
	// Beyond Trove: how a replica gets on, when its guest has told.
	Replication *replicationView `json:"replication,omitempty"`
	Warning     string           `json:"warning,omitempty"` // beyond Trove: what will soon keep the server from its work
	*adminDetail
	Password string `json:"password,omitempty"`  // in the answer to a create with root_on_create
	UserData string `json:"user_data,omitempty"` // in the answer to a create without a host
}

// adminDetail is what only admins see of a single instance: where Trove has ids of Nova and Cinder, the host's, and that of the instance
// whose volume it is.
type adminDetail struct {
	ServerID     *string `json:"server_id"` // null: it has no host
	VolumeID     *string `json:"volume_id"`
	EncryptedRPC bool    `json:"encrypted_rpc_messaging"`
}

type flavorRef struct {
	ID    string `json:"id"`
	Links []link `json:"links"`
}

// memberRef names something that belongs to the instance.
type memberRef struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`
	Links []link `json:"links"`
}

type datastoreRef struct {
	Type          string `json:"type"`
	Version       string `json:"version"`
	VersionNumber string `json:"version_number,omitempty"`
}

type volumeView struct {
	Size int      `json:"size"`
	Used *float64 `json:"used,omitempty"` // GB, when the guest has told
	// UsedPercent is what is used of the volume as it is, which is a little less than its size.
	UsedPercent *float64 `json:"used_percent,omitempty"`
}

type addressView struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Network string `json:"network"`
}

type faultView struct {
	Message string  `json:"message"`
	Created string  `json:"created"`
	Details *string `json:"details"` // null for all but admins
}

// replicationView is how a replica gets on with its source.
type replicationView struct {
	Role    datastores.Role `json:"role"` // replica; source when its server follows nobody
	Follows bool            `json:"follows"`
	Since   string          `json:"since,omitempty"` // since when it does, or does not
	Why     string          `json:"why,omitempty"`   // it does not
	// How far it is behind, as far as it knows, and as far as its engine counts so. It is told when it has doubled or halved.
	LagSeconds      *int64 `json:"lag_seconds,omitempty"`
	LagBytes        *int64 `json:"lag_bytes,omitempty"`
	LagTransactions *int64 `json:"lag_transactions,omitempty"`
}

func replicationOf(in lifecycle.Member) *replicationView {
	f := in.Service.Replication
	if in.ReplicaOf() == "" || f == nil {
		return nil
	}
	lag := func(unit datastores.LagUnit) *int64 {
		if n, known := f.Lag[unit]; known {
			return &n
		}
		return nil
	}
	v := &replicationView{
		Role: f.Role, Follows: f.Follows, Why: lifecycle.Astray(in),
		LagSeconds: lag(datastores.Seconds), LagBytes: lag(datastores.Bytes), LagTransactions: lag(datastores.Transactions),
	}
	if !f.Since.IsZero() {
		v.Since = control.Stamp(f.Since)
	}
	return v
}

// shortView is an instance in a list.
func (a *API) shortView(r *request, in lifecycle.Member) instanceView {
	v := instanceView{
		ID: in.ID, Name: in.Name, Status: lifecycle.Status(in), OperatingStatus: lifecycle.OperatingStatus(in),
		Links:     a.links(r, "instances/"+in.ID),
		Flavor:    flavorRef{in.FlavorID, a.links(r, "flavors/"+in.FlavorID)},
		Datastore: datastoreRef{Type: in.Datastore, Version: in.Version},
		Region:    a.Region,
		Access:    control.Access{IsPublic: in.Public, AllowedCIDRs: in.AllowedCIDRs},
		Addresses: []addressView{},
	}
	if v.Access.AllowedCIDRs == nil {
		v.Access.AllowedCIDRs = []string{}
	}
	if r.Who.Admin() {
		v.TenantID = in.Project
	}
	if in.VolumeGB > 0 {
		v.Volume = &volumeView{Size: in.VolumeGB}
	}
	if of := in.ReplicaOf(); of != "" {
		v.ReplicaOf = &memberRef{ID: of, Links: a.links(r, "instances/"+of)}
	}
	for _, id := range in.Replicas() {
		v.Replicas = append(v.Replicas, memberRef{ID: id, Links: a.links(r, "instances/"+id)})
	}
	if in.Clustered() {
		v.ClusterID, v.ShardID = in.Set.ID, in.Set.Member(in.ID).Shard
	}
	if host, address := lifecycle.Reached(in.Instance); address != "" {
		v.IP = []string{address}
		v.Addresses = append(v.Addresses, addressView{address, "private", host})
	}
	return v
}

// detailView is an instance by itself.
func (a *API) detailView(r *request, in lifecycle.Member) instanceView {
	v := a.shortView(r, in)
	v.Datastore.VersionNumber = in.VersionNumber
	v.Locality, v.Zone = cmp.Or(in.Set.Locality, in.Locality), in.Zone
	v.instanceDetail = &instanceDetail{Created: control.Stamp(in.Created), Updated: control.Stamp(in.Updated), Protected: in.Protected}
	if !in.ServiceReported.IsZero() {
		v.ServiceStatusUpdated = control.Stamp(in.ServiceReported)
	}
	if in.Configuration != "" {
		v.Configuration = &memberRef{ID: in.Configuration, Name: a.configurationName(r, in.Instance), Links: a.links(r, "configurations/"+in.Configuration)}
	}
	if v.Volume != nil && in.Service.Volume != nil {
		used := math.Round(float64(in.Service.Volume.Used)/(1<<30)*100) / 100
		v.Volume.Used = &used
		if total := in.Service.Volume.Total; total > 0 {
			percent := math.Round(float64(in.Service.Volume.Used)/float64(total)*1000) / 10
			v.Volume.UsedPercent = &percent
		}
	}
	if r.Who.Admin() {
		v.adminDetail = &adminDetail{ServerID: optional(in.Host), EncryptedRPC: true}
		if in.VolumeGB > 0 {
			v.VolumeID = &in.ID
		}
	}
	v.Warning, v.Replication = in.Service.Warning, replicationOf(in)
	if f := in.Fault; f != nil {
		v.Fault = &faultView{Message: f.Message, Created: control.Stamp(f.Created)}
		if r.Who.Admin() {
			v.Fault.Details = &f.Details
		}
	}
	return v
}

// configurationName reads the name of an instance's configuration group; "" when it cannot.
func (a *API) configurationName(r *request, in etcdschema.Instance) string {
	rec, err := etcdschema.Get(r.ctx, a.Control.Store, etcdschema.ConfigurationKey(in.Project, in.Configuration))
	if err != nil {
		return ""
	}
	return rec.Value.Name
}
