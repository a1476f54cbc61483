package plan

import (
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
)

// schedules has what is of a whole set be kept at its source: it goes there when another member becomes that, and when the member at which it is
// kept leaves. Another member of a cluster has it then, and it goes with the last one.
func (p *Plan) schedules() error {
	heir, was := p.d.Set.Source(), p.Before.Set.Source()
	for _, m := range p.d.Set.Members {
		if heir == "" || p.d.Set.Source() == "" && m.State == "" && p.d.Set.Member(heir).State != "" {
			heir = m.ID
		}
	}
	var from []string
	if was != "" && was != p.d.Set.Source() {
		from = append(from, was)
	}
	if p.Before.SetID != "" && (p.d.Gone || p.d.Instance.SetID == "") {
		from = append(from, p.Before.ID)
	}
	slices.Sort(from)
	for _, id := range slices.Compact(from) {
		if id == heir || heir == "" {
			continue
		}
		in, err := p.look(id)
		if err == nil {
			err = p.inherit(in, heir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inherit moves what is of the whole set from one of its members to another.
func (p *Plan) inherit(was etcdschema.Instance, heir string) error {
	for _, id := range was.Schedules {
		key := etcdschema.ScheduleKey(was.Project, id)
		rec, err := etcdschema.Read(p.Snap, key)
		if err != nil {
			return err
		}
		if !rec.Found || !rec.Value.Whole {
			continue
		}
		for _, at := range []string{was.ID, heir} {
			in, err := p.touch(at)
			if err != nil {
				return err
			}
			in.Schedules = WithMember(in.Schedules, id, at == heir)
		}
		rec.Value.Instance = heir
		p.Put(etcdschema.Put(key, rec.Value))
	}
	return nil
}

// keeper is the instance at which the schedule is kept for which a backup was made; "": it was for none that is of a whole set.
func (p *Plan) keeper(b etcdschema.Backup) (string, error) {
	if b.Schedule == "" || b.Cluster != "" {
		return "", nil
	}
	rec, err := etcdschema.Read(p.Snap, etcdschema.ScheduleKey(b.Project, b.Schedule))
	if err != nil || !rec.Value.Whole || rec.Value.Instance == b.Instance {
		return "", err
	}
	return rec.Value.Instance, nil
}
