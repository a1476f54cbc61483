package due

import "slices"

// pageSize is how many keys are read at a time. Twice as many are kept at most.
const pageSize = 100

// page is the beginning of an index, as far as it is known: names holds all keys that come after what was taken from it, up to last. The
// zero value knows nothing.
type page struct {
	names []string // in their order
	last  string   // the last name up to which all are known
	all   bool     // all are known, whatever last says
	epoch int      // which page it is; each begins with nothing
}

// put adds a key, if it is in the part that is known.
func (p *page) put(name string) {
	if !p.all && name > p.last {
		return
	}
	if i, has := slices.BinarySearch(p.names, name); !has {
		p.names = slices.Insert(p.names, i, name)
	}
	if len(p.names) > 2*pageSize {
		p.limit(p.names[pageSize-1])
	}
}

func (p *page) remove(name string) {
	if i, has := slices.BinarySearch(p.names, name); has {
		p.names = slices.Delete(p.names, i, i+1)
	}
}

// limit forgets what comes after last.
func (p *page) limit(last string) {
	if !p.all && p.last <= last {
		return
	}
	p.all, p.last = false, last
	i, has := slices.BinarySearch(p.names, last)
	if has {
		i++
	}
	p.names = slices.Delete(p.names, i, len(p.names))
}

// expect has the page take all that is put from now on, until fill says what else there is after from.
func (p *page) expect() (from string, epoch int) {
	from, p.all = p.last, true
	return from, p.epoch
}

// fill adds what was read since expect: all there is up to last, and whether there is more.
func (p *page) fill(names []string, last string, more bool) {
	for _, name := range names {
		p.put(name)
	}
	if more {
		p.limit(last)
	}
}
