package group

import "fmt"

// Seen is what a member has said that was asked, or why it has not.
type Seen struct {
	Address string
	Status
	Err error
}

// Place is where a server goes that is outside of its group.
type Place struct {
	Join  []string // to these, whose group takes writes
	Found bool     // nobody is in a group, and nobody has more: it begins anew
	Wait  string   // why neither yet
}

// Find says where a member goes, by the answers of all others that anybody knows.
//
// A group that takes writes is joined, for whatever was acknowledged is there. Where there is none, one begins anew, and everything hangs on who: with
// one that lacks something the others would give up what was acknowledged. What was acknowledged is at every member that was in the
// group then. Which ones these were nobody can tell who has not asked all, so all must answer; and none may be in a group still that would
// go on as soon as its members reach each other. The greatest number of transactions is a superset, or has beside what all have only what nobody was
// told is done. All members come to the same answer, for what each has does not change while it is outside.
func Find(self Seen, others []Seen) Place {
	var p Place
	for _, o := range others {
		if o.Err == nil && o.Works() && o.Cluster == self.Cluster {
			p.Join = append(p.Join, o.Address)
		}
	}
	if len(p.Join) > 0 {
		return p
	}
	first, most := self.Address, self.count()
	for _, o := range others {
		switch {
		case o.Err != nil:
			p.Wait = fmt.Sprintf("the cluster begins anew when all members are back, and %s does not answer", o.Address)
			return p
		case o.Cluster != self.Cluster:
			p.Wait = fmt.Sprintf("the cluster begins anew when all members are back, and %s is not yet in it", o.Address)
			return p
		case !o.Outside():
			p.Wait = fmt.Sprintf("the cluster begins anew when %s, which is with too few others, has given up", o.Address)
			return p
		}
		if n := o.count(); n > most || n == most && o.Address < first {
			first, most = o.Address, n
		}
	}
	p.Found = first == self.Address
	if !p.Found {
		p.Wait = fmt.Sprintf("the cluster begins anew with %s, which has most: %d transactions", first, most)
	}
	return p
}

func (s Seen) count() uint64 {
	n, _ := Count(s.Has)
	return n
}
