package agent

import (
	"encoding/json"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
)

// chain holds the rows of commands that have changed something, each linked to the one before. It has no lock: its journal's is enough.
type chain struct {
	floor agentpoll.Mark  // behind which the rows begin; its Chain is "" before there is one
	rows  []agentpoll.Row // in their order
}

// end is the place of the last row.
func (c *chain) end() agentpoll.Mark {
	if len(c.rows) == 0 {
		return c.floor
	}
	return *c.mark(&c.rows[len(c.rows)-1])
}

// mark is the place of a row; nil when there is no row, or it was of a chain that is lost.
func (c *chain) mark(row *agentpoll.Row) *agentpoll.Mark {
	if row == nil || c.floor.Chain == "" {
		return nil
	}
	return &agentpoll.Mark{Chain: c.floor.Chain, Seq: row.Seq, Link: row.Link}
}

// link gives a record's row its place, and returns what has to be written: the record, behind the chain's name when that is new.
func (c *chain) link(r record) []record {
	end, records := c.end(), []record{r}
	if end.Chain == "" {
		end = agentpoll.NewChain()
		records = slices.Insert(records, 0, record{Op: opChain, ID: end.Chain, Row: &agentpoll.Row{Link: end.Link}})
	}
	end.Next(r.Row)
	return records
}

// apply takes a record in, from memory or from the file. The rows of a compacted file are out of order.
func (c *chain) apply(r record) {
	switch {
	case r.Row == nil:
	case r.Op == opChain:
		*c = chain{floor: agentpoll.Mark{Chain: r.ID, Seq: r.Row.Seq, Link: r.Row.Link}}
	case c.floor.Chain != "" && r.Row.Seq > c.floor.Seq:
		at, _ := slices.BinarySearchFunc(c.rows, r.Row.Seq, func(row agentpoll.Row, seq int64) int { return int(row.Seq - seq) })
		c.rows = slices.Insert(c.rows, at, *r.Row)
	}
}

// trimmed is the chain with its last rows only.
func (c *chain) trimmed(keep int) chain {
	less := max(0, len(c.rows)-keep)
	if less == 0 {
		return chain{c.floor, slices.Clone(c.rows)}
	}
	return chain{*c.mark(&c.rows[less-1]), slices.Clone(c.rows[less:])}
}

// records are what a file begins with: the chain's name and floor, and the rows that are not in an entry.
func (c *chain) records(entries map[string]*entry) []record {
	if c.floor.Chain == "" {
		return nil
	}
	records := []record{{Op: opChain, ID: c.floor.Chain, Row: &agentpoll.Row{Seq: c.floor.Seq, Link: c.floor.Link}}}
	for _, row := range c.rows {
		if e := entries[row.ID]; e == nil || e.finish.Row == nil || e.finish.Row.Seq != row.Seq {
			records = append(records, record{Op: opRow, ID: row.ID, Row: &row})
		}
	}
	return records
}

// audit answers [agentpoll.MethodAudit].
func (j *journal) audit(raw json.RawMessage) (json.RawMessage, error) {
	var args agentpoll.AuditArgs
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, agentpoll.Errorf(agentpoll.Invalid, "the arguments cannot be read: %v", err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	rows := j.chain.rows
	from, _ := slices.BinarySearchFunc(rows, args.After+1, func(row agentpoll.Row, seq int64) int { return int(row.Seq - seq) })
	rows = rows[from:]
	page := rows[:min(len(rows), agentpoll.AuditPage)]
	return json.Marshal(agentpoll.AuditReply{Floor: j.chain.floor, Rows: page, More: len(page) < len(rows)})
}
