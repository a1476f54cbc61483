package plan

import (
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// PutMaintenance writes maintenance, of which something is due at a time, zero for never.
func PutMaintenance(m etcdschema.Maintenance, at, now time.Time) (ops []etcdschema.Op) {
	m.Due, ops = MoveDue(DueUpkeep, m.Project, m.Subject, m.Due, at, now)
	return append(ops, etcdschema.Put(etcdschema.MaintenanceKey(m.Project, m.Subject), m))
}

// maintenance has that of a set go with its source, and that of an instance or a cluster end with it.
func (p *Plan) maintenance() error {
	was, is := p.Before.Set.Source(), p.d.Set.Source()
	switch {
	case was != "" && is != "" && was != is:
		return p.upkeep(was, is)
	case p.Before.Clustered() && p.d.SetGone:
		return p.upkeep(p.Before.SetID, "")
	case !p.Before.Clustered() && p.d.Gone:
		return p.upkeep(p.Before.ID, "")
	}
	return nil
}

// upkeep gives the maintenance of one instance to another, or with "" ends it.
func (p *Plan) upkeep(was, heir string) error {
	key := etcdschema.MaintenanceKey(p.project(), was)
	rec, err := etcdschema.Read(p.Snap, key)
	if err != nil || !rec.Found {
		return err
	}
	at := rec.Value.Due
	_, ops := MoveDue(DueUpkeep, p.project(), was, at, time.Time{}, p.now)
	p.Put(append(ops, etcdschema.Delete(key))...)
	if heir == "" {
		return nil
	}
	rec.Value.Subject, rec.Value.Due = heir, time.Time{}
	p.Put(PutMaintenance(rec.Value, at, p.now)...)
	return nil
}
