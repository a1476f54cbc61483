package modules

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// Holder is an instance that has a module.
type Holder = lifecycle.Member

// holderPage is how many instances are read at once.
const holderPage = 500

// Holders are the instances of the caller's project that have a module, by their ids, with members of clusters or without.
func (ms *Modules) Holders(ctx context.Context, c control.Caller, id string, clustered bool) (m etcdschema.Module, all []Holder, err error) {
	if m, err = ms.Find(ctx, c, id); err != nil {
		return m, nil, err
	}
	var has []etcdschema.Instance
	for page := (etcdschema.Page{Limit: holderPage}); m.Instances > 0; {
		list, err := etcdschema.List(ctx, ms.Control.Store, etcdschema.Instances(c.Project), page)
		if err != nil {
			return m, nil, err
		}
		for _, rec := range list.Records {
			if position(rec.Value.Modules, id) >= 0 {
				has = append(has, rec.Value)
			}
		}
		if !list.More {
			break
		}
		page.After, page.Revision = list.Last, list.Revision
	}
	all, err = ms.Control.Members(ctx, etcdschema.Sets(c.Project), has)
	return m, slices.DeleteFunc(all, func(in Holder) bool { return in.Clustered() && !clustered }), err
}

// position is where a module stands in a list; -1: it does not.
func position(all []etcdschema.AppliedModule, id string) int {
	return slices.IndexFunc(all, func(m etcdschema.AppliedModule) bool { return m.ID == id })
}

// Count is how many instances have a module with the same in it, and when the first and the last of them got it.
type Count struct {
	MD5         string
	Instances   int
	First, Last time.Time
}

// Counted counts the holders of a module by what was in it when they got it.
func Counted(holders []Holder, id string) (counts []Count) {
	for _, in := range holders {
		m := in.Modules[position(in.Modules, id)]
		i := slices.IndexFunc(counts, func(n Count) bool { return n.MD5 == m.MD5 })
		if i < 0 {
			i, counts = len(counts), append(counts, Count{MD5: m.MD5, First: m.Updated, Last: m.Updated})
		}
		n := &counts[i]
		n.Instances++
		if m.Updated.Before(n.First) {
			n.First = m.Updated
		}
		if m.Updated.After(n.Last) {
			n.Last = m.Updated
		}
	}
	slices.SortFunc(counts, func(a, b Count) int { return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.MD5, b.MD5)) })
	return counts
}
