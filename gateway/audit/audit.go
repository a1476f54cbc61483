// Package audit holds what gateways keep of the commands that they gave to an agent against what the agent keeps of those that it ran.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

// askTimeout is how long the agent may take for a page of rows, and maxPages how many pages it may have.
const (
	askTimeout = 30 * time.Second
	maxPages   = 100
)

// Auditor reads both ends.
type Auditor struct {
	Control *control.Plane
}

// Report is what is kept of an agent, and what comes of holding both ends against each other.
type Report struct {
	Agent string                `json:"agent"`
	Since *time.Time            `json:"since"` // nothing was kept by the gateways before; nil: nothing is
	Rows  []etcdschema.AuditRow `json:"rows"`
	// Alone says why only the gateways' rows were looked at; "": the agent's were as well.
	Alone string `json:"alone,omitempty"`
	Verdict
}

// Of reports on an agent: the guest of an instance, by the instance's id, or a host. Only the rows of gateways are looked at when the agent
// cannot be asked.
func (a *Auditor) Of(ctx context.Context, c control.Caller, agentID string) (Report, error) {
	if _, err := etcdschema.Get(ctx, a.Control.Store, etcdschema.AgentKey(agentID)); errors.Is(err, etcdschema.ErrNotFound) {
		return Report{}, fault.NotFound("Agent", agentID)
	} else if err != nil {
		return Report{}, err
	}
	r := Report{Agent: agentID}
	theirs, err := a.theirs(ctx, c, agentID) // before ours: what ends meanwhile has its row at the gateways
	if err != nil {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		r.Alone = fault.Of(err, c.Request).Message
	}
	ours, since, err := a.ours(ctx, agentID)
	if err != nil {
		return r, err
	}
	if !since.IsZero() {
		r.Since = &since
	}
	r.Rows, r.Verdict = ours.Rows, Compare(ours, theirs)
	return r, nil
}

// theirs asks the agent for its rows.
func (a *Auditor) theirs(ctx context.Context, c control.Caller, agentID string) (*Theirs, error) {
	var theirs Theirs
	after := int64(0)
	for page := range maxPages {
		raw, err := a.Control.AskAgent(ctx, c, agentID, agentpoll.MethodAudit, askTimeout, agentpoll.AuditArgs{After: after})
		if failed, is := errors.AsType[*agentpoll.Error](err); is && failed.Kind == agentpoll.Unsupported {
			return nil, fault.Errorf(fault.NotImplemented, "The agent is of a version that keeps no rows.")
		}
		if err != nil {
			return nil, err
		}
		var reply agentpoll.AuditReply
		if err := json.Unmarshal(raw, &reply); err != nil {
			return nil, fault.Errorf(fault.Unavailable, "What the agent says of its rows cannot be read.")
		}
		if page == 0 || reply.Floor.Seq > theirs.Floor.Seq && len(theirs.Rows) == 0 {
			theirs.Floor = reply.Floor
		}
		theirs.Rows = append(theirs.Rows, reply.Rows...)
		if !reply.More || len(reply.Rows) == 0 {
			return &theirs, nil
		}
		after = reply.Rows[len(reply.Rows)-1].Seq
	}
	return nil, fault.Errorf(fault.Unavailable, "The agent says that it keeps more than %d rows.", maxPages*agentpoll.AuditPage)
}

// ours reads the gateways' rows. The commands that are pending are read first: one that ends meanwhile has its row then.
func (a *Auditor) ours(ctx context.Context, agentID string) (o Ours, since time.Time, err error) {
	store := a.Control.Store
	pending, err := etcdschema.List(ctx, store, etcdschema.Commands(agentID), etcdschema.Page{})
	if err != nil {
		return o, since, err
	}
	for _, rec := range pending.Records {
		o.Pending = append(o.Pending, rec.Value.ID)
	}
	for { // the newest rows move among the older ones between two reads
		newest, err := etcdschema.Get(ctx, store, etcdschema.AuditKey(agentID))
		if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
			return o, since, err
		}
		older, err := etcdschema.List(ctx, store, etcdschema.AllAuditRows(agentID), etcdschema.Page{})
		if err != nil {
			return o, since, err
		}
		again, err := etcdschema.Get(ctx, store, etcdschema.AuditKey(agentID))
		if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
			return o, since, err
		}
		if again.Changed != newest.Changed {
			continue
		}
		chunks := []etcdschema.AuditRows{}
		for _, rec := range older.Records {
			chunks = append(chunks, rec.Value)
		}
		return assembled(agentID, a.Control.Signer, append(chunks, newest.Value.AuditRows), o), newest.Value.Since, nil
	}
}

// assembled puts rows together that lie in several records, oldest first.
func assembled(agentID string, signer plan.Signer, chunks []etcdschema.AuditRows, o Ours) Ours {
	o.AuditRows, o.First = etcdschema.AuditRows{Rows: []etcdschema.AuditRow{}}, 1
	for _, chunk := range chunks {
		if len(o.Rows) == 0 {
			o.Before = chunk.Before
		}
		o.Rows = append(o.Rows, chunk.Rows...)
	}
	if newest := chunks[len(chunks)-1].Rows; len(newest) > 0 {
		o.First = max(1, newest[0].Seq-plan.AuditChunk*plan.AuditChunks)
	}
	o.Link = func(link []byte, row etcdschema.AuditRow) []byte { return signer.AuditLink(agentID, link, row) }
	return o
}
