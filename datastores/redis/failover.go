package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// A source of this family acknowledges a write without waiting for anybody. It takes none when it has heard of fewer replicas than
// min-replicas-to-write within min-replicas-max-lag seconds; they tell every second how far they have come. So a source that is cut off from
// its replicas acknowledges for no longer than [bound] what nobody else has. It cannot tell replicas apart: who is none of those that
// count must have no account.

// bound is for how long a source takes writes after the last word of its replicas. Tenants may set less.
const bound = 10 * time.Second

// awaiting are the parameters of a source that has to hear of its replicas, of those that it has otherwise.
func (st side) awaiting(all map[string]string) map[string]string {
	if st.Await == 0 {
		return nil
	}
	number := func(name string) int { n, _ := strconv.Atoi(all[name]); return n }
	seconds := int(bound.Seconds())
	if n := number("min-replicas-max-lag"); n > 0 { // 0 is never
		seconds = min(seconds, n)
	}
	return map[string]string{
		"min-replicas-to-write": strconv.Itoa(max(st.Await, number("min-replicas-to-write"))),
		"min-replicas-max-lag":  strconv.Itoa(seconds),
	}
}

// await stores first how many the server needs: one that is started meanwhile takes no write without them.
func (m *Manager) await(ctx context.Context, on datastores.Await) (p datastores.Position, err error) {
	if on.Count > len(on.Candidates) {
		return p, datastores.Errorf(datastores.Invalid, "a source cannot wait for %d of %d replicas", on.Count, len(on.Candidates))
	}
	st, err := m.loadSide()
	if err != nil {
		return p, err
	}
	st.Await = on.Count
	if err := m.saveSide(st); err != nil {
		return p, err
	}
	if err := m.reconfigure(ctx); err != nil {
		return p, err
	}
	for _, replica := range on.Ceased {
		if err := m.removeReplica(ctx, replica); err != nil {
			return p, err
		}
	}
	return m.position(ctx)
}

// stand has a replica that is fenced look for its source where nobody is, also when it is started meanwhile. It votes when the source
// takes no more writes for its sake, wherever that is.
func (m *Manager) stand(ctx context.Context, fenced bool) (p datastores.Position, err error) {
	st, err := m.loadSide()
	if err != nil {
		return p, err
	}
	from := st.Source
	if from == nil {
		return p, datastores.Errorf(datastores.Conflict, "the server is no replica")
	}
	if fenced && from.Voted != nil { // it has received nothing since
		return *from.Voted, nil
	}
	before, err := m.info(ctx, "replication")
	if err != nil {
		return p, err
	}
	from.Fenced, from.Voted = fenced, nil
	if err := m.saveSide(st); err != nil {
		return p, err
	}
	if err := m.call(ctx, m.replicaOf(*from)); err != nil {
		return p, err
	}
	if !fenced {
		return m.position(ctx)
	}
	silent, _ := strconv.Atoi(before["master_link_down_since_seconds"]) // -1: since the server was started
	if wait := bound + time.Second - time.Duration(max(silent, 0))*time.Second; wait > 0 && !service.Pause(ctx, wait) {
		return p, ctx.Err()
	}
	if p, err = m.position(ctx); err != nil {
		return p, err
	}
	if before["master_link_status"] != "up" && p.Count <= 1 {
		return p, datastores.Errorf(datastores.Conflict,
			"the server was started since it followed its source, and does not know how far it had come; a person who can do without the rest may eject the source")
	}
	from.Voted = &p
	return p, m.saveSide(st)
}
