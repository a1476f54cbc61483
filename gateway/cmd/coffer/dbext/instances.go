package dbext

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/instances"

	"github.com/cofferdb/coffer/agentpoll"
)

// Instance is an instance with everything that Coffer tells of it; gophercloud's has a part.
type Instance struct {
	ID              string            `json:"id"`
	Name            string            `json:"name"`
	Status          string            `json:"status"`
	OperatingStatus string            `json:"operating_status"`
	Datastore       Datastore         `json:"datastore"`
	Flavor          FlavorRef         `json:"flavor"`
	Volume          *Volume           `json:"volume,omitempty"` // nil: the datastore has none
	Addresses       []Address         `json:"addresses"`
	Region          string            `json:"region"`
	Project         string            `json:"tenant_id,omitempty"` // told to admins only
	Access          Access            `json:"access"`
	ReplicaOf       *Ref              `json:"replica_of,omitempty"`        // of a replica
	Replicas        []Ref             `json:"replicas,omitempty"`          // of a source
	Zone            string            `json:"availability_zone,omitempty"` // as it was asked for; not in lists
	Created         Time              `json:"created,omitzero"`            // this and what follows: not in lists
	Protected       bool              `json:"deletion_protection,omitempty"`
	Updated         Time              `json:"updated,omitzero"`
	Configuration   *Ref              `json:"configuration,omitempty"` // attached
	Replication     *Replication      `json:"replication,omitempty"`   // of a replica, when its guest has told
	Role            string            `json:"role,omitempty"`          // of a set's member
	Failover        *Failover         `json:"failover,omitempty"`      // of its set
	Connections     map[string]string `json:"connections,omitempty"`   // what clients connect with, by role
	RPO             *Measured         `json:"rpo,omitempty"`           // how much would be lost; nil: never measured
	RTO             *Measured         `json:"rto,omitempty"`           // how long a restore took
	Objectives      *Objectives       `json:"objectives,omitempty"`    // what is asked of the two
	Maintenance     *Maintenance      `json:"maintenance,omitempty"`   // when an operator may interrupt it
	Warning         string            `json:"warning,omitempty"`       // what will soon keep the server from its work
	Fault           *Fault            `json:"fault,omitempty"`
	Password        string            `json:"password,omitempty"`  // of root, in the answer to a create of some datastores
	UserData        string            `json:"user_data,omitempty"` // in the answer to a create without a host
}

// Measured is what was measured last of having an instance again.
type Measured struct {
	Seconds float64 `json:"seconds"`
	At      Time    `json:"measured_at"`
	By      string  `json:"by"` // log or backup; drill or restore
	Backup  string  `json:"backup_id,omitempty"`
	Drill   string  `json:"drill_id,omitempty"`
	Until   Time    `json:"until,omitzero"` // what was written before is kept
}

// String says it in one line.
func (m Measured) String() string {
	return fmt.Sprintf("%s by %s, measured %s", time.Duration(m.Seconds*float64(time.Second)).Round(10*time.Millisecond), m.By, m.At)
}

// Objectives are what is asked of an instance's recovery, in seconds; 0: nothing.
type Objectives struct {
	RPO    int               `json:"rpo,omitempty"`
	RTO    int               `json:"rto,omitempty"`
	Missed map[string]string `json:"missed"` // of each that is missed why
}

// SetObjectives asks for what objectives names, rpo and rto, in seconds; 0: for nothing any more.
func SetObjectives(ctx context.Context, c *gophercloud.ServiceClient, instance string, objectives map[string]int) error {
	return change(ctx, c, http.MethodPut, map[string]any{"instance": map[string]any{"objectives": objectives}}, "instances", instance)
}

// Replication is how a replica gets on with its source.
type Replication struct {
	Role            string `json:"role"` // replica; source when its server follows nobody
	Follows         bool   `json:"follows"`
	Since           Time   `json:"since,omitzero"`
	Why             string `json:"why,omitempty"` // it does not follow
	LagSeconds      *int64 `json:"lag_seconds,omitempty"`
	LagBytes        *int64 `json:"lag_bytes,omitempty"`
	LagTransactions *int64 `json:"lag_transactions,omitempty"`
}

// Failover says whether a replica takes the place of a source that is lost without being asked. What a set is asked for is Mode and
// what follows up to Degrade.
type Failover struct {
	Mode       string   `json:"mode"` // automatic or manual
	Acks       int      `json:"acknowledgements,omitempty"`
	Grace      int      `json:"grace_seconds,omitempty"`
	Degrade    string   `json:"degrade,omitempty"` // asynchronous or never
	Possible   bool     `json:"possible,omitempty"`
	Why        string   `json:"why,omitempty"` // it is not, or writes wait
	Candidates []string `json:"candidates,omitempty"`
}

// String says in one line how failover stands.
func (f Failover) String() string {
	switch {
	case f.Mode != "automatic":
		return f.Mode
	case f.Why != "":
		return f.Mode + ": " + f.Why
	case !f.Possible:
		return f.Mode + ": the source has no candidate yet"
	}
	return fmt.Sprintf("%s: the source waits for %d of %s", f.Mode, f.Acks, strings.Join(f.Candidates, ", "))
}

// Datastore names an instance's datastore and version.
type Datastore struct {
	Type          string `json:"type"`
	Version       string `json:"version"`
	VersionNumber string `json:"version_number,omitempty"`
}

// Ref names another instance, or a configuration group.
type Ref struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// FlavorRef is the id of an instance's flavor.
type FlavorRef struct {
	ID string `json:"id"`
}

// Volume is an instance's volume, in GB.
type Volume struct {
	Size int      `json:"size"`
	Used *float64 `json:"used,omitempty"` // nil: not known
}

// Address is where an instance is reached.
type Address struct {
	Address string `json:"address"`
	Type    string `json:"type"`
}

// Access says who may reach an instance's ports.
type Access struct {
	IsPublic     bool     `json:"is_public"`
	AllowedCIDRs []string `json:"allowed_cidrs"`
}

// Fault says why an instance is in ERROR.
type Fault struct {
	Message string `json:"message"`
	Created Time   `json:"created"`
}

// ListInstances reads all of the project's instances, page by page.
func ListInstances(ctx context.Context, c *gophercloud.ServiceClient) ([]Instance, error) {
	return all[Instance](ctx, c, "instances", endpoint(c, "instances"))
}

// ListAllInstances reads those of all projects. For admins.
func ListAllInstances(ctx context.Context, c *gophercloud.ServiceClient) ([]Instance, error) {
	return all[Instance](ctx, c, "instances", endpoint(c, "mgmt", "instances"))
}

// GetInstance reads one instance.
func GetInstance(ctx context.Context, c *gophercloud.ServiceClient, id string) (Instance, error) {
	return get[Instance](ctx, c, "instance", "instances", id)
}

// PastInstance is an instance as it was, and the revisions of etcd that say when.
type PastInstance struct {
	Instance
	AsOf struct {
		Revision int64 `json:"revision"`          // that it is seen at
		Changed  int64 `json:"changed"`           // that had changed it last
		Earlier  int64 `json:"earlier,omitempty"` // at which it was as before that; 0: it was made then
	} `json:"as_of"`
}

// GetPastInstance reads an instance as it was at a time of RFC 3339, or at a revision of etcd.
func GetPastInstance(ctx context.Context, c *gophercloud.ServiceClient, id, asOf string) (p PastInstance, err error) {
	at := endpoint(c, "instances", id) + "?" + url.Values{"as_of": {asOf}}.Encode()
	members, err := send(ctx, c, http.MethodGet, at, nil, http.StatusOK)
	if p.Instance, err = member[Instance](members, "instance", err); err != nil {
		return p, err
	}
	return p, json.Unmarshal(members["as_of"], &p.AsOf)
}

// CreateOpts are gophercloud's with what it lacks. A Size of 0 asks for no volume, or for its source's; a replica has its
// source's flavor, too.
type CreateOpts struct {
	instances.CreateOpts
	Access    *Access // nil: everybody who can route there
	UserData  bool    // no host: the answer holds the user-data of a machine to boot
	Backup    string  // id of the backup that it is made of
	ReplicaOf string  // id of its source
	// BackupProject is the project that has granted Backup; "": it is the caller's own.
	BackupProject string
	ReplicaCount  int    // of that source; 0: one
	Zone          string // availability zone of its host; "": any
	Locality      string // of its replicas: affinity, anti-affinity; "": anywhere
	Protected     bool   // from deletion
	PITR          bool   // its log is shipped
	// RestorePoint is what it begins with, in place of Backup; nil: nothing.
	RestorePoint *RestorePoint
	Modules      []string // ids
}

// ToInstanceCreateMap implements instances.CreateOptsBuilder.
func (opts CreateOpts) ToInstanceCreateMap() (map[string]any, error) {
	base := opts.CreateOpts
	base.Size = max(1, base.Size) // gophercloud insists on a volume, and on a flavor
	base.FlavorRef = cmp.Or(base.FlavorRef, "none")
	body, err := base.ToInstanceCreateMap()
	if err != nil {
		return nil, err
	}
	instance := body["instance"].(map[string]any)
	if opts.Size == 0 {
		delete(instance, "volume")
	}
	if opts.FlavorRef == "" {
		delete(instance, "flavorRef")
	}
	if len(opts.Modules) > 0 {
		instance["modules"] = moduleRefs(opts.Modules)
	}
	if opts.Backup != "" {
		point := map[string]string{"backupRef": opts.Backup}
		if opts.BackupProject != "" {
			point["project_id"] = opts.BackupProject
		}
		instance["restorePoint"] = point
	}
	if opts.RestorePoint != nil {
		instance["restorePoint"] = opts.RestorePoint
	}
	if opts.PITR {
		instance["pitr"] = map[string]bool{"enabled": true}
	}
	if opts.ReplicaOf != "" {
		instance["replica_of"] = opts.ReplicaOf
	}
	if opts.ReplicaCount > 0 {
		instance["replica_count"] = opts.ReplicaCount
	}
	if opts.Zone != "" {
		instance["availability_zone"] = opts.Zone
	}
	if opts.Locality != "" {
		instance["locality"] = opts.Locality
	}
	if opts.Protected {
		instance["deletion_protection"] = true
	}
	if opts.Access != nil {
		instance["access"] = opts.Access
	}
	if opts.UserData {
		instance["user_data"] = true
	}
	return body, nil
}

// CreateInstance asks for an instance, which is in BUILD then.
func CreateInstance(ctx context.Context, c *gophercloud.ServiceClient, opts CreateOpts) (Instance, error) {
	var body struct {
		Instance Instance `json:"instance"`
	}
	err := instances.Create(ctx, c, opts).ExtractInto(&body)
	return body.Instance, err
}

// RenameInstance gives an instance another name.
func RenameInstance(ctx context.Context, c *gophercloud.ServiceClient, id, name string) error {
	body := map[string]any{"instance": map[string]string{"name": name}}
	return change(ctx, c, http.MethodPut, body, "instances", id)
}

// Protect says whether an instance is protected from deletion.
func Protect(ctx context.Context, c *gophercloud.ServiceClient, id string, protected bool) error {
	body := map[string]any{"instance": map[string]bool{"deletion_protection": protected}}
	return change(ctx, c, http.MethodPut, body, "instances", id)
}

// SetFailover gives the set of a source another policy.
func SetFailover(ctx context.Context, c *gophercloud.ServiceClient, id string, f Failover) error {
	body := map[string]any{"instance": map[string]any{"failover": f}}
	return change(ctx, c, http.MethodPut, body, "instances", id)
}

// DeleteInstance deletes an instance, after a backup of that name unless it is "".
func DeleteInstance(ctx context.Context, c *gophercloud.ServiceClient, id, finalBackup string) error {
	at := endpoint(c, "instances", id)
	if finalBackup != "" {
		at += "?" + url.Values{"final_backup": {finalBackup}}.Encode()
	}
	_, err := send(ctx, c, http.MethodDelete, at, nil, http.StatusAccepted)
	return err
}

// ResetStatus gives up whatever is being done to an instance.
func ResetStatus(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	body := map[string]any{"reset_status": map[string]bool{"force_delete": true}}
	return change(ctx, c, http.MethodPost, body, "instances", id, "action")
}

// Migrate brings an instance to a host, by id, or with "" to the best that there is.
func Migrate(ctx context.Context, c *gophercloud.ServiceClient, id, host string) error {
	to := map[string]string{}
	if host != "" {
		to["host"] = host
	}
	return change(ctx, c, http.MethodPost, map[string]any{"migrate": to}, "mgmt", "instances", id, "action")
}

// DetachReplica makes a replica an instance of its own.
func DetachReplica(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	body := map[string]any{"instance": map[string]any{"replica_of": nil}}
	return change(ctx, c, http.MethodPut, body, "instances", id)
}

// Follow makes a replica follow its source again; with discard, anew.
func Follow(ctx context.Context, c *gophercloud.ServiceClient, id string, discard bool) error {
	return change(ctx, c, http.MethodPost, map[string]any{"follow": map[string]any{"discard": discard}}, "instances", id, "action")
}

// Promote makes a replica the source of the others and of its source.
func Promote(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return act(ctx, c, id, "promote_to_replica_source")
}

// Eject puts one of its replicas into the place of a source that is out of reach.
func Eject(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return act(ctx, c, id, "eject_replica_source")
}

func act(ctx context.Context, c *gophercloud.ServiceClient, id, action string) error {
	return change(ctx, c, http.MethodPost, map[string]any{action: map[string]any{}}, "instances", id, "action")
}

// Upgrade moves an instance to another version of its datastore, by the version's name or id.
func Upgrade(ctx context.Context, c *gophercloud.ServiceClient, id, version string) error {
	body := map[string]any{"instance": map[string]string{"datastore_version": version}}
	return change(ctx, c, http.MethodPatch, body, "instances", id)
}

// Why answers what is being done to an instance: which step, since when, waiting for whom, until when.
type Why struct {
	Status      string              `json:"status"`
	Operation   string              `json:"operation,omitempty"` // "": nothing is being done
	Step        string              `json:"step,omitempty"`
	Since       Time                `json:"since,omitzero"`
	WaitingFor  string              `json:"waiting_for,omitempty"`
	Deadline    Time                `json:"deadline,omitzero"` // of the step
	Progress    *agentpoll.Progress `json:"progress,omitempty"`
	Connected   bool                `json:"agent_connected"`
	LastContact Time                `json:"last_agent_contact,omitzero"`
	Fault       string              `json:"fault,omitempty"`
	Summary     string              `json:"summary"`
}

// GetWhy asks it.
func GetWhy(ctx context.Context, c *gophercloud.ServiceClient, id string) (Why, error) {
	return get[Why](ctx, c, "why", "instances", id, "why")
}

// Event is a line of an instance's timeline.
type Event struct {
	ID      string `json:"id"`
	At      Time   `json:"at"`
	Kind    string `json:"kind"` // step, done, fault, status, note
	Message string `json:"message"`
	Request string `json:"request_id,omitempty"`
}

// ListEvents reads an instance's timeline after the event whose id is marker; "": from the beginning.
func ListEvents(ctx context.Context, c *gophercloud.ServiceClient, id, marker string) ([]Event, error) {
	from := endpoint(c, "instances", id, "events")
	if marker != "" {
		from += "?" + url.Values{"marker": {marker}}.Encode()
	}
	return all[Event](ctx, c, "events", from)
}
