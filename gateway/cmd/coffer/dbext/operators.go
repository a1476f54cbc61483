package dbext

import (
	"context"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

// Quota is the limit and use of one resource; a Limit of -1 is none.
type Quota struct {
	Resource string `json:"resource"`
	InUse    int    `json:"in_use"`
	Limit    int    `json:"limit"`
}

// GetQuotas reads a project's quotas: one's own, or for admins any.
func GetQuotas(ctx context.Context, c *gophercloud.ServiceClient, project string) ([]Quota, error) {
	return get[[]Quota](ctx, c, "quotas", "mgmt", "quotas", project)
}

// SetQuotas changes limits by resource. For admins.
func SetQuotas(ctx context.Context, c *gophercloud.ServiceClient, project string, limits map[string]int) error {
	return change(ctx, c, http.MethodPut, map[string]any{"quotas": limits}, "mgmt", "quotas", project)
}

// GetLimits reads the project's limits by name, such as max_instances.
func GetLimits(ctx context.Context, c *gophercloud.ServiceClient) (map[string]any, error) {
	limits, err := get[[]map[string]any](ctx, c, "limits", "limits")
	if err != nil || len(limits) == 0 {
		return nil, err
	}
	return limits[0], nil
}

// Host is a machine that runs instances.
type Host struct {
	ID        string               `json:"id"`
	Name      string               `json:"name"`
	Driver    string               `json:"driver"`
	Connected bool                 `json:"connected"`
	Locked    string               `json:"locked"`
	Since     Time                 `json:"since,omitzero"` // of being connected, or not
	Disabled  bool                 `json:"disabled"`
	Capacity  deployments.Capacity `json:"capacity"`
	Free      deployments.Capacity `json:"free"`
	Pool      string               `json:"pool"`
	Managers  []string             `json:"managers"`
	Instances []string             `json:"instances"`
	Zone      string               `json:"availability_zone"`
	Labels    datastores.Labels    `json:"labels,omitempty"`
	Notes     []string             `json:"notes,omitempty"`
	Serves    []string             `json:"serves"`                 // datastore versions
	Cannot    map[string]string    `json:"cannot_serve,omitempty"` // and those that it cannot, by why
	Enrolled  Time                 `json:"enrolled"`
}

// ListHosts reads all hosts. This and what follows is for admins.
func ListHosts(ctx context.Context, c *gophercloud.ServiceClient) ([]Host, error) {
	return get[[]Host](ctx, c, "hosts", "mgmt", "hosts")
}

// HostOpts are what an operator says of a host; nil: as it is.
type HostOpts struct {
	Disabled *bool              `json:"disabled,omitempty"` // it gets no new instances
	Zone     *string            `json:"availability_zone,omitempty"`
	Labels   *datastores.Labels `json:"labels,omitempty"` // all of them
}

// UpdateHost changes what an operator says of a host.
func UpdateHost(ctx context.Context, c *gophercloud.ServiceClient, id string, opts HostOpts) error {
	return change(ctx, c, http.MethodPatch, map[string]any{"host": opts}, "mgmt", "hosts", id)
}

// DeleteHost forgets a host that has no instances.
func DeleteHost(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodDelete, nil, "mgmt", "hosts", id)
}

// Enrolment is the token with which an agent enrols, once.
type Enrolment struct {
	Token   string `json:"token"`
	Kind    string `json:"kind"`
	AgentID string `json:"agent_id"`
	Expires Time   `json:"expires"`
	CA      string `json:"ca"` // hex SHA-256 of the CA that the host pins; "": none is known
}

// EnrolmentOpts say who enrols, and what it may give at most.
type EnrolmentOpts struct {
	Host     string                `json:"host,omitempty"` // "": a new host, else the id of one that enrols again
	Capacity *deployments.Capacity `json:"capacity,omitempty"`
	Pool     string                `json:"pool,omitempty"`
}

// CreateEnrolment makes a token for a host.
func CreateEnrolment(ctx context.Context, c *gophercloud.ServiceClient, opts EnrolmentOpts) (Enrolment, error) {
	body := map[string]any{"enrolment": opts}
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "mgmt", "enrolments"), body, http.StatusOK)
	return member[Enrolment](members, "enrolment", err)
}

// UnlockAgent ends the lock of an agent whose identity two used at once.
func UnlockAgent(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodPost, nil, "mgmt", "agents", id, "unlock")
}

// Audit is what is kept of an agent's commands.
type Audit struct {
	Agent    string         `json:"agent"`
	Since    *time.Time     `json:"since"` // nil: nothing is kept
	Alone    string         `json:"alone"` // why the agent's own rows were not looked at; "": they were
	Rows     []AuditRow     `json:"rows"`
	Findings []AuditFinding `json:"findings"`
	Compared int            `json:"compared"`
	Older    int            `json:"older"`
	Unkept   int            `json:"unkept"`
	Former   int            `json:"former"`
}

// AuditRow is one command of a gateway.
type AuditRow struct {
	Seq       int64     `json:"seq"`
	ID        string    `json:"id"`
	Method    string    `json:"method"`
	Instance  string    `json:"instance"`
	User      string    `json:"user"`
	Request   string    `json:"request"`
	Asked     time.Time `json:"asked"`
	Ended     time.Time `json:"ended"`
	Withdrawn bool      `json:"withdrawn"`
	Failed    string    `json:"failed"`
	Result    []byte    `json:"result"` // a keyed digest
}

// AuditFinding is a row that is not as it must be.
type AuditFinding struct {
	End     string `json:"end"`
	Kind    string `json:"kind"`
	Seq     int64  `json:"seq"`
	ID      string `json:"id"`
	Message string `json:"message"`
}

// GetAudit holds what both ends keep of an agent's commands against each other.
func GetAudit(ctx context.Context, c *gophercloud.ServiceClient, agent string) (Audit, error) {
	return get[Audit](ctx, c, "audit", "mgmt", "audit", agent)
}
