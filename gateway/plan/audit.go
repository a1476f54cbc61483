package plan

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// How many rows are kept of an agent: AuditChunk in the record that is written with each result, AuditChunks times as many in records of their own.
const (
	AuditChunk  = 16
	AuditChunks = 16
)

// Audited reports whether a row is kept of a method: of what changes something, as the agent's own journal does. What only reads would push that
// out of the window.
func Audited(method string) bool {
	m, known := datastores.LookupMethod(method)
	return method != agentpoll.MethodAudit && method != deployments.MethodCheck && !(known && m.Reads)
}

// Ended begins the row of a command with a result as the agent has sent it; nil: it was withdrawn.
func (s Signer) Ended(agentID string, cmd etcdschema.Command, result *agentpoll.Result, now time.Time) etcdschema.AuditRow {
	key := s.agentKey(agentID)
	row := etcdschema.AuditRow{
		ID: cmd.ID, Method: cmd.Method, Project: cmd.Project, Instance: cmd.Instance, User: cmd.User, Request: cmd.Request,
		Asked: cmd.Enqueued.UTC(), Ended: now.UTC(), Command: cmd.Digest(key, agentID),
	}
	if result == nil {
		row.Withdrawn = true
		return row
	}
	row.Result, row.Agent = result.Digest(key, agentID, cmd.ID), result.Audit
	if result.Error != nil {
		row.Failed = cmp.Or(result.Error.Kind, agentpoll.Internal)
	}
	return row
}

// Audit writes a row behind those of an agent, for the transaction in which the command ends.
func (s Signer) Audit(snap etcdschema.Snapshot, agentID string, row etcdschema.AuditRow) ([]etcdschema.Op, error) {
	if !Audited(row.Method) {
		return nil, nil
	}
	key := etcdschema.AuditKey(agentID)
	rec, err := etcdschema.Read(snap, key)
	if err != nil {
		return nil, err
	}
	audit, full := s.Behind(agentID, rec.Value, row)
	ops := []etcdschema.Op{etcdschema.Put(key, audit)}
	if full != nil {
		next := audit.Rows[0].Seq
		ops = append(ops, etcdschema.Put(etcdschema.AuditRowsKey(agentID, next), *full))
		if old := next - AuditChunk*AuditChunks; old > 0 {
			ops = append(ops, etcdschema.Delete(etcdschema.AuditRowsKey(agentID, old)))
		}
	}
	return ops, nil
}

// Behind is the record with one more row. The rows before it are returned as well when they fill a record of their own, and the new one
// begins behind them.
func (s Signer) Behind(agentID string, audit etcdschema.Audit, row etcdschema.AuditRow) (etcdschema.Audit, *etcdschema.AuditRows) {
	var last etcdschema.AuditRow
	if n := len(audit.Rows); n > 0 {
		last = audit.Rows[n-1]
	} else {
		audit.Since = row.Ended
	}
	row.Seq = last.Seq + 1
	if row.Top = last.Top; row.Agent != nil && (row.Agent.Chain != row.Top.Chain || row.Agent.Seq > row.Top.Seq) {
		row.Top = *row.Agent
	}
	row.Link = s.AuditLink(agentID, last.Link, row)
	var full *etcdschema.AuditRows
	if before := audit.AuditRows; len(before.Rows) >= AuditChunk {
		full, audit.AuditRows = &before, etcdschema.AuditRows{Before: last.Link}
	}
	audit.Rows = append(slices.Clip(audit.Rows), row)
	return audit, full
}

// AuditLink is what the link of a row must be behind another. Only gateways can make it.
func (s Signer) AuditLink(agentID string, link []byte, row etcdschema.AuditRow) []byte {
	h := hmac.New(sha256.New, s.audit)
	mark := agentpoll.Mark{}
	if row.Agent != nil {
		mark = *row.Agent
	}
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	_, _ = fmt.Fprintf(h, "coffer audit v1\n%s\n%x\n%d\n%q\n%q\n%q\n%q\n%q\n%q\n%s\n%s\n%t\n%q\n%x\n%x\n%q %d %x\n%q %d %x", agentID, link,
		row.Seq, row.ID, row.Method, row.Project, row.Instance, row.User, row.Request, at(row.Asked), at(row.Ended), row.Withdrawn, row.Failed,
		row.Command, row.Result, mark.Chain, mark.Seq, mark.Link, row.Top.Chain, row.Top.Seq, row.Top.Link)
	return h.Sum(nil)
}

// withdrawn writes the row of a command that the decision drops.
func (p *Plan) withdrawn(agentID, id string) error {
	cmd, err := etcdschema.Read(p.Snap, etcdschema.CommandKey(agentID, id))
	if err != nil || !cmd.Found {
		return err
	}
	ops, err := p.signer.Audit(p.Snap, agentID, p.signer.Ended(agentID, cmd.Value, nil, p.now))
	p.Snap = p.Snap.After(ops...)
	p.Put(ops...)
	return err
}
