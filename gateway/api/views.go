package api

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/maintenance"
	"github.com/cofferdb/coffer/gateway/objectives"
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
	DrillOf         *memberRef     `json:"drill_of,omitempty"` // beyond Trove: it is the drill of another one, and will be removed

	*instanceDetail
}

// instanceDetail is what only a single instance and the detailed list show.
type instanceDetail struct {
	Created              string            `json:"created"`
	Protected            bool              `json:"deletion_protection"` // beyond Trove
	Updated              string            `json:"updated"`
	PITR                 pitrView          `json:"pitr"` // beyond Trove
	ServiceStatusUpdated string            `json:"service_status_updated,omitempty"`
	Configuration        *memberRef        `json:"configuration,omitempty"`
	Fault                *faultView        `json:"fault,omitempty"`
	Connections          map[string]string `json:"connections,omitempty"` // beyond Trove: what clients connect with, by role; a single instance shows it
	// Beyond Trove: what was measured last of having the instance again, and what is asked of that. A single instance shows it.
	RPO        *rpoView        `json:"rpo,omitempty"`
	RTO        *rtoView        `json:"rto,omitempty"`
	Objectives *objectivesView `json:"objectives,omitempty"`
	// Maintenance is when an operator may interrupt it, and what waits for that; a single instance shows it, when there is any.
	Maintenance *maintenanceView `json:"maintenance,omitempty"`
	// Beyond Trove: how a replica gets on, when its guest has told.
	Replication *replicationView `json:"replication,omitempty"`
	// Beyond Trove: of a member of a set with replicas, what it is there, and who takes the place of the source.
	Role     datastores.Role `json:"role,omitempty"`
	Failover *failoverView   `json:"failover,omitempty"`
	Warning  string          `json:"warning,omitempty"` // beyond Trove: what will soon keep the server from its work
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

// pitrView says whether the log is shipped, and how far that may be behind, in seconds.
type pitrView struct {
	Enabled bool `json:"enabled"`
	RPO     int  `json:"rpo,omitempty"`
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

// rpoView is how much would be lost with an instance.
type rpoView struct {
	Seconds  float64 `json:"seconds"`
	Measured string  `json:"measured_at"`
	By       string  `json:"by"` // log or backup
	BackupID string  `json:"backup_id,omitempty"`
	Until    string  `json:"until"` // what was written before is kept
}

// rtoView is how long it took to have an instance again.
type rtoView struct {
	Seconds  float64 `json:"seconds"`
	Measured string  `json:"measured_at"`
	By       string  `json:"by"` // drill or restore
	DrillID  string  `json:"drill_id,omitempty"`
	BackupID string  `json:"backup_id,omitempty"`
}

// objectivesView is what is asked of an instance's recovery, in seconds.
type objectivesView struct {
	RPO    int               `json:"rpo,omitempty"`
	RTO    int               `json:"rto,omitempty"`
	Missed map[string]string `json:"missed"` // of each that is missed why
}

// recovered adds what is known of having the instance again.
func (v *instanceView) recovered(r objectives.Recovery) {
	if p := r.RPO; p != nil {
		v.RPO = &rpoView{thousandths(p.Seconds), control.Stamp(p.At), p.By, p.Backup, control.Stamp(p.Until)}
	}
	if t := r.RTO; t != nil {
		v.RTO = &rtoView{Seconds: thousandths(t.Seconds), Measured: control.Stamp(t.At), By: t.By, BackupID: t.ID}
		if t.By == objectives.ByDrill {
			v.RTO.DrillID, v.RTO.BackupID = t.ID, ""
		}
	}
	if o := r.Asked; o.RPO > 0 || o.RTO > 0 {
		v.Objectives = &objectivesView{o.RPO, o.RTO, o.Missed}
		if o.Missed == nil {
			v.Objectives.Missed = map[string]string{}
		}
	}
}

// maintenanceView is when an operator may interrupt an instance, and for what.
type maintenanceView struct {
	Window  *etcdschema.MaintenanceWindow `json:"window"`  // null: there is none
	Default bool                          `json:"default"` // it is the project's
	Next    *string                       `json:"next"`    // when it opens next, or since when it is open
	Pending *pendingView                  `json:"pending"` // null: nothing waits
	Last    *maintainedView               `json:"last"`
}

type pendingView struct {
	Action   string `json:"action"` // upgrade, restart
	Version  string `json:"datastore_version,omitempty"`
	Instance string `json:"instance_id"`
	By       string `json:"user,omitempty"`
	Asked    string `json:"asked"`
	Reason   string `json:"reason,omitempty"` // why it could not begin when that was tried last
}

type maintainedView struct {
	Action  string `json:"action"`
	Version string `json:"datastore_version,omitempty"`
	Began   string `json:"began"`
}

// viewMaintenance is nil of what has neither a window nor anything that waits for one.
func viewMaintenance(k maintenance.Known) *maintenanceView {
	if k.Window == nil && k.Pending == nil && k.Last == nil {
		return nil
	}
	v := maintenanceView{Window: k.Window, Default: k.Default, Next: moment(k.From)}
	if p := k.Pending; p != nil {
		v.Pending = &pendingView{p.Kind, p.Version, p.Instance, p.By, control.Stamp(p.Asked), p.Reason}
	}
	if l := k.Last; l != nil {
		v.Last = &maintainedView{l.Kind, l.Version, control.Stamp(l.Began)}
	}
	return &v
}

func thousandths(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }

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

// failoverView is the policy of a set, and how it stands.
type failoverView struct {
	control.Failover
	// Possible: the candidates can decide who takes the place of a lost source. Why it is not, or writes wait.
	Possible   bool     `json:"possible"`
	Why        string   `json:"why,omitempty"`
	Candidates []string `json:"candidates"` // ids
	// Bounded: what was acknowledged last may be lost.
	Bounded bool         `json:"bounded"`
	Members []memberView `json:"members"`
	// Failovers that the set had; 0 and nulls: none.
	Failovers failoversView `json:"failovers"`
}

// failoversView counts the failovers of a set, and for how long it had no source.
type failoversView struct {
	Count   int      `json:"count"`
	Last    *string  `json:"last"`    // when the last one had its new source
	Seconds *float64 `json:"seconds"` // without a source, of the last one
	Total   float64  `json:"total_seconds"`
}

// memberView is a member of a set, where clients find it.
type memberView struct {
	ID        string          `json:"id"`
	Role      datastores.Role `json:"role"`
	Address   string          `json:"address,omitempty"`
	Candidate bool            `json:"candidate"`
}

func failoverOf(in lifecycle.Member) (role datastores.Role, v *failoverView) {
	set := in.Set
	if set.Kind != etcdschema.SetReplication || set.Member(in.ID).ID == "" {
		return "", nil
	}
	v = &failoverView{Failover: control.FailoverOf(in), Candidates: []string{}, Bounded: slices.Contains(in.Capabilities, datastores.CanBoundedFailover)}
	if f := set.Failover; f != nil {
		v.Possible, v.Why, v.Candidates = len(f.Candidates) > 0, f.Said, append(v.Candidates, f.Candidates...)
	}
	for _, m := range set.Members {
		v.Members = append(v.Members, memberView{m.ID, datastores.Role(m.Role), m.Address, slices.Contains(v.Candidates, m.ID)})
	}
	v.Failovers = failoversView{Count: set.Failovers.Count, Last: moment(set.Failovers.Last), Total: thousandths(set.Failovers.Total)}
	if v.Failovers.Count > 0 {
		seconds := thousandths(set.Failovers.Seconds)
		v.Failovers.Seconds = &seconds
	}
	return datastores.Role(set.Member(in.ID).Role), v
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
	if of := in.DrillOf; of != "" {
		v.DrillOf = &memberRef{ID: of, Links: a.links(r, "instances/"+of)}
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
	v.instanceDetail = &instanceDetail{Created: control.Stamp(in.Created), Updated: control.Stamp(in.Updated), Protected: in.Protected, PITR: pitrView{in.RPO > 0, in.RPO}}
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
	v.Role, v.Failover = failoverOf(in)
	if f := in.Fault; f != nil {
		v.Fault = &faultView{Message: f.Message, Created: control.Stamp(f.Created)}
		if r.Who.Admin() {
			v.Fault.Details = &f.Details
		}
	}
	return v
}

// planView is what a request would do.
type planView struct {
	Operation string `json:"operation,omitempty"`
	Restart   bool   `json:"restart"` // the database server stops, for however short
	ReadOnly  bool   `json:"read_only"`
	// Seconds is what the last such operation of the instance took, of which clients were without the server for a part; null: there was none.
	Seconds    *float64         `json:"seconds"`
	Parameters []string         `json:"restart_required_by,omitempty"` // parameters that take effect at a restart only
	Steps      []stepView       `json:"steps"`
	Quotas     []map[string]any `json:"quotas"`
	Changes    []map[string]any `json:"changes"`
}

type stepView struct {
	Step     string `json:"step"`
	Instance string `json:"instance_id"`
	Does     string `json:"does"`
	Without  string `json:"without,omitempty"` // what clients do without: server or writes
}

func foresight(r *request, seen *control.Foreseen) planView {
	v := planView{Steps: []stepView{}, Changes: []map[string]any{}}
	switch {
	case seen.After.Operation != nil:
		v.Operation = seen.After.Operation.Kind
	case seen.After.Set.Operation != nil:
		v.Operation = seen.After.Set.Operation.Kind
	}
	for _, s := range seen.Steps {
		v.Restart, v.ReadOnly = v.Restart || s.Without == "server", v.ReadOnly || s.Without == "writes"
		v.Steps = append(v.Steps, stepView{string(s.Step), s.Instance, s.Does, s.Without})
	}
	if took, known := seen.After.Took[v.Operation]; known {
		v.Seconds = &took
	}
	v.Parameters, v.Quotas = seen.Restart, quotaViews(seen.Quota)
	for _, w := range seen.Would { // what is nobody's own is nobody's business
		parts := strings.Split(strings.Trim(w.Key, "/"), "/")
		if n := len(parts); n > 3 && slices.Contains([]string{r.Project, r.param("id")}, parts[n-2]) || r.Who.Admin() {
			v.Changes = append(v.Changes, map[string]any{"record": parts[1], "id": parts[n-1], "would_be": w.Does})
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
