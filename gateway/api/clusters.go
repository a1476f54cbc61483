package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// clusterView is a cluster as clients see it: trove-api v1.0.
type clusterView struct {
	ID            string              `json:"id"`
	Name          string              `json:"name"`
	Task          taskView            `json:"task"`
	Created       string              `json:"created"`
	Updated       string              `json:"updated"`
	Links         []link              `json:"links"`
	Datastore     datastoreRef        `json:"datastore"`
	Instances     []clusterMemberView `json:"instances"`
	IP            []string            `json:"ip"`
	Locality      string              `json:"locality,omitempty"`
	Configuration *memberRef          `json:"configuration,omitempty"`
	TenantID      string              `json:"tenant_id,omitempty"`           // admins only
	Extended      map[string]int      `json:"extended_properties,omitempty"` // replicas: of each shard
	Connections   map[string]string   `json:"connections,omitempty"`         // beyond Trove: what clients connect with; a single cluster shows it
	Fault         *faultView          `json:"fault,omitempty"`               // beyond Trove: why the last operation failed, and at which member
	Password      string              `json:"password,omitempty"`            // beyond Trove: root's, in the answer to a create with root_on_create
}

type clusterMemberView struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Type    string      `json:"type"`
	Links   []link      `json:"links"`
	ShardID string      `json:"shard_id,omitempty"`
	Status  string      `json:"status"`
	Volume  *volumeView `json:"volume,omitempty"`
	Flavor  flavorRef   `json:"flavor"`
	IP      []string    `json:"ip"`
}

type taskView struct {
	ID          int    `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

// taskOf is what is being done to a cluster, in Trove's numbers and names.
func taskOf(set etcdschema.Set) taskView {
	op := set.Operation
	if op == nil {
		return taskView{1, "NONE", "No tasks for the cluster."}
	}
	t := map[string]taskView{
		lifecycle.Build:    {2, "BUILDING", "The cluster is being made"},
		lifecycle.Dissolve: {3, "DELETING", "The cluster is being deleted"},
		lifecycle.Grow:     {5, "GROWING_CLUSTER", "Members are being added"},
		lifecycle.Shrink:   {6, "SHRINKING_CLUSTER", "Members are being taken away"},
		lifecycle.Upgrade:  {7, "UPGRADING_CLUSTER", "All members are being upgraded"},
		lifecycle.Restart:  {8, "RESTARTING_CLUSTER", "All members are being restarted"},
	}[cmp.Or(op.Each, op.Kind)]
	if t.ID == 0 {
		t = taskView{9, "UPDATING_CLUSTER", "The cluster is being changed"}
	}
	t.Description += ": step " + op.Step + "."
	return t
}

func (a *API) viewCluster(r *request, c control.Cluster) clusterView {
	v := clusterView{
		ID: c.ID, Name: c.Name, Task: taskOf(c.Set), Created: control.Stamp(c.Created), Updated: control.Stamp(c.Updated), Links: a.links(r, "clusters/"+c.ID),
		Datastore: datastoreRef{Type: c.Datastore, Version: c.Version}, Instances: []clusterMemberView{}, IP: []string{}, Locality: c.Locality,
	}
	for _, in := range c.Instances {
		short := a.shortView(r, in)
		v.Instances = append(v.Instances, clusterMemberView{
			ID: in.ID, Name: in.Name, Type: "member", Links: short.Links, ShardID: in.Set.Member(in.ID).Shard, Status: short.Status,
			Volume: short.Volume, Flavor: short.Flavor, IP: short.IP,
		})
		v.IP = append(v.IP, short.IP...)
	}
	if c.Copies > 0 {
		v.Extended = map[string]int{"replicas": c.Copies}
	}
	if c.Configuration != "" {
		v.Configuration = &memberRef{ID: c.Configuration, Links: a.links(r, "configurations/"+c.Configuration)}
	}
	if r.Who.Admin() {
		v.TenantID = c.Project
	}
	if f := c.Fault; f != nil {
		v.Fault = &faultView{Message: f.Message, Created: control.Stamp(f.Created)}
	}
	return v
}

func (a *API) listClusters(r *request) (reply, error) {
	return a.clusterPage(r, etcdschema.Sets(r.Project))
}

func (a *API) mgmtListClusters(r *request) (reply, error) {
	return a.clusterPage(r, etcdschema.AllSets())
}

// clusterPage answers one page of the clusters among sets.
func (a *API) clusterPage(r *request, from etcdschema.Prefix[etcdschema.Set]) (reply, error) {
	limit, marker, err := r.page()
	if err != nil {
		return reply{}, err
	}
	views, last, more := []clusterView{}, marker, true
	for page := (etcdschema.Page{Limit: pageSize, After: marker}); more && len(views) < limit; page.After = last {
		list, err := etcdschema.List(r.ctx, a.Control.Store, from, page)
		if err != nil {
			return reply{}, err
		}
		last, more = list.Last, list.More
		for i, rec := range list.Records {
			if rec.Value.Kind != etcdschema.SetCluster {
				continue
			}
			c, err := a.Control.FindCluster(r.ctx, rec.Value.Project, rec.Value.ID)
			if fault.IsNotFound(err) {
				continue // it has just ended
			}
			if err != nil {
				return reply{}, err
			}
			if views = append(views, a.viewCluster(r, c)); len(views) == limit {
				last, more = from.Name(rec.Key), more || i+1 < len(list.Records)
				break
			}
		}
	}
	if !more {
		last = ""
	}
	slices.Reverse(views)
	return reply{http.StatusOK, listBody("clusters", views, a.nextLink(r, last, limit))}, nil
}

func (a *API) createCluster(r *request) (reply, error) {
	body, err := decode[struct {
		Cluster *control.ClusterRequest `json:"cluster"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Cluster == nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'cluster' is a required property.")
	}
	if err := a.beginMembers(r, body.Cluster.Instances); err != nil {
		return reply{}, err
	}
	made, password, err := a.Control.NewCluster(r.ctx, r.Caller, *body.Cluster)
	if err != nil {
		return reply{}, err
	}
	view := a.viewCluster(r, made)
	view.Password = password
	return reply{http.StatusOK, map[string]any{"cluster": view}}, nil
}

func (a *API) showCluster(r *request) (reply, error) {
	c, err := a.Control.FindCluster(r.ctx, r.Project, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	view := a.viewCluster(r, c)
	if view.Connections, err = a.Control.Connections(r.ctx, lifecycle.Member{Set: c.Set}); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"cluster": view}}, nil
}

func (a *API) mgmtShowCluster(r *request) (reply, error) { return a.showCluster(r) }

func (a *API) deleteCluster(r *request) (reply, error) {
	return accepted(a.Control.AskCluster(r.ctx, r.Caller, r.param("id"), lifecycle.Event{Type: lifecycle.AskDissolve}))
}

func (a *API) showClusterInstance(r *request) (reply, error) {
	c, err := a.Control.FindCluster(r.ctx, r.Project, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	for _, in := range c.Instances {
		if in.ID == r.param("instance") {
			return reply{http.StatusOK, map[string]any{"instance": a.detailView(r, in)}}, nil
		}
	}
	return reply{}, fault.NotFound("Instance", r.param("instance"))
}

// clusterAction is what an action of a cluster reads and does.
type clusterAction func(a *API, r *request, args json.RawMessage) error

// clusterActions are all of them. Trove has no mend.
func clusterActions() map[string]clusterAction {
	roll := func(kind string) clusterAction {
		return func(a *API, r *request, _ json.RawMessage) error {
			return a.Control.Roll(r.ctx, r.Caller, r.param("id"), kind, nil)
		}
	}
	return map[string]clusterAction{
		"grow":                 (*API).growCluster,
		"shrink":               (*API).shrinkCluster,
		"restart":              roll(lifecycle.Restart),
		"upgrade":              (*API).upgradeCluster,
		"configuration_attach": (*API).attachCluster,
		"configuration_detach": (*API).detachCluster,
		"reset-status":         (*API).resetCluster,
		"mend": func(a *API, r *request, _ json.RawMessage) error {
			return a.Control.AskCluster(r.ctx, r.Caller, r.param("id"), lifecycle.Event{Type: lifecycle.AskMend})
		},
	}
}

// actOnCluster takes exactly one action, and answers with the cluster as it is then.
func (a *API) actOnCluster(r *request) (reply, error) {
	name, args, err := oneAction(r)
	if err != nil {
		return reply{}, err
	}
	action := clusterActions()[name]
	if action == nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Action %s not supported.", name)
	}
	if err := action(a, r, args); err != nil {
		return reply{}, err
	}
	c, err := a.Control.FindCluster(r.ctx, r.Project, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusAccepted, map[string]any{"cluster": a.viewCluster(r, c)}}, nil
}

func (a *API) growCluster(r *request, args json.RawMessage) error {
	var members []control.ClusterMemberRequest
	if err := json.Unmarshal(args, &members); err != nil {
		return fault.Errorf(fault.BadRequest, "Validation error: grow must be a list of members, each with flavorRef and volume.")
	}
	if err := a.beginMembers(r, members); err != nil {
		return err
	}
	_, err := a.Control.Grow(r.ctx, r.Caller, r.param("id"), members)
	return err
}

// beginMembers has each of the new members begin with its modules.
func (a *API) beginMembers(r *request, members []control.ClusterMemberRequest) error {
	var creates []*control.CreateRequest
	for i := range members {
		creates = append(creates, &members[i].CreateRequest)
	}
	return a.Modules.Beginning(r.ctx, r.Caller, creates...)
}

func (a *API) shrinkCluster(r *request, args json.RawMessage) error {
	var members []struct {
		ID   string `json:"id"`
		Lost bool   `json:"lost"` // beyond Trove: it cannot be asked any more
	}
	if err := json.Unmarshal(args, &members); err != nil {
		return fault.Errorf(fault.BadRequest, "Validation error: shrink must be a list of members, each with its id, and \"lost\": true when it will not be back.")
	}
	var ids, lost []string
	for _, m := range members {
		ids = append(ids, m.ID)
		if m.Lost {
			lost = append(lost, m.ID)
		}
	}
	return a.Control.Shrink(r.ctx, r.Caller, r.param("id"), ids, lost)
}

func (a *API) upgradeCluster(r *request, args json.RawMessage) error {
	var to struct {
		Version string `json:"datastore_version"`
	}
	if err := json.Unmarshal(args, &to); err != nil || to.Version == "" {
		return fault.Errorf(fault.BadRequest, "Validation error: upgrade must name a datastore_version, by name or id.")
	}
	return a.Control.UpgradeCluster(r.ctx, r.Caller, r.param("id"), to.Version)
}

func (a *API) attachCluster(r *request, args json.RawMessage) error {
	var group struct {
		ID string `json:"configuration_id"`
	}
	if err := json.Unmarshal(args, &group); err != nil || group.ID == "" {
		return fault.Errorf(fault.BadRequest, "Validation error: configuration_attach must name a configuration_id.")
	}
	return a.Control.ConfigureCluster(r.ctx, r.Caller, r.param("id"), control.LastPart(group.ID))
}

func (a *API) detachCluster(r *request, _ json.RawMessage) error {
	return a.Control.ConfigureCluster(r.ctx, r.Caller, r.param("id"), "")
}

// resetCluster gives up what is being done to a cluster. Members may delete it that way, as in Trove; the rest is for admins.
func (a *API) resetCluster(r *request, args json.RawMessage) error {
	var opts struct {
		ForceDelete bool `json:"force_delete"`
	}
	if len(args) > 0 && json.Unmarshal(args, &opts) != nil {
		return fault.Errorf(fault.BadRequest, "Validation error: reset-status takes nothing, or {\"force_delete\": true}.")
	}
	if !opts.ForceDelete && !r.Who.Admin() {
		return fault.Errorf(fault.Unauthorized, "This needs the role admin, unless it is to delete the cluster: {\"force_delete\": true}.")
	}
	err := a.Control.AskCluster(r.ctx, r.Caller, r.param("id"), lifecycle.Event{Type: lifecycle.ResetStatus})
	if err == nil && opts.ForceDelete {
		err = a.Control.AskCluster(r.ctx, r.Caller, r.param("id"), lifecycle.Event{Type: lifecycle.AskDissolve})
	}
	return err
}

func (a *API) mgmtActOnCluster(r *request) (reply, error) {
	name, _, err := oneAction(r)
	if err != nil {
		return reply{}, err
	}
	if name != "reset-task" {
		return reply{}, fault.Errorf(fault.BadRequest, "Action %q is unknown; allowed: reset-task.", name)
	}
	return accepted(a.Control.AskCluster(r.ctx, r.Caller, r.param("id"), lifecycle.Event{Type: lifecycle.ResetStatus}))
}

// first is a member of the cluster of the path that can be asked for what all have.
func (a *API) firstMember(r *request) (lifecycle.Member, error) {
	c, err := a.Control.FindCluster(r.ctx, r.Project, r.param("id"))
	if err != nil {
		return lifecycle.Member{}, err
	}
	at := max(0, slices.IndexFunc(c.Instances, func(in lifecycle.Member) bool { return in.Set.Member(in.ID).State == "" }))
	return c.Instances[at], nil
}

func (a *API) showClusterRoot(r *request) (reply, error) {
	in, err := a.firstMember(r)
	return reply{http.StatusOK, map[string]bool{"rootEnabled": in.RootEnabled}}, err
}

// enableClusterRoot has every member let root in, with one password.
func (a *API) enableClusterRoot(r *request) (reply, error) {
	in, err := a.firstMember(r)
	if err != nil {
		return reply{}, err
	}
	return a.enableRootAt(r, in.ID)
}
