package due

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is put and taken out, while pages are read and before they are filled, a page never misses the first key that there is, and
// never keeps more than twice its size.
func TestPageMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p page
		var there []string
		some := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("%04d", rapid.IntRange(0, 1000).Draw(t, "key")) })
		change := func() {
			for range rapid.IntRange(0, 300).Draw(t, "changes") {
				name := some.Draw(t, "name")
				if i, has := slices.BinarySearch(there, name); has {
					there = slices.Delete(there, i, i+1)
					p.remove(name)
				} else {
					there = slices.Insert(there, i, name)
					p.put(name)
				}
			}
		}
		for range rapid.IntRange(1, 10).Draw(t, "rounds") {
			change()
			if !p.all && len(p.names) == 0 {
				from, _ := p.expect()
				change()
				i, has := slices.BinarySearch(there, from)
				if has {
					i++
				}
				read := slices.Clone(there[i:min(i+pageSize, len(there))])
				last, more := "", i+pageSize < len(there)
				if len(read) > 0 {
					last = read[len(read)-1]
				}
				if rapid.Bool().Draw(t, "fails") {
					p.limit(from)
				} else {
					p.fill(read, last, more)
				}
			}
			known := there
			if !p.all {
				known = slices.DeleteFunc(slices.Clone(there), func(name string) bool { return name > p.last })
			}
			if !slices.Equal(p.names, known) {
				t.Fatalf("the page has %d names, up to %q (all: %v); there are %d", len(p.names), p.last, p.all, len(known))
			}
			if len(p.names) > 2*pageSize {
				t.Fatalf("the page has %d names", len(p.names))
			}
			for range min(len(p.names), rapid.IntRange(0, 2*pageSize).Draw(t, "taken")) { // it happens, which takes it away
				there = slices.DeleteFunc(there, func(name string) bool { return name == p.names[0] })
				p.remove(p.names[0])
			}
		}
	})
}
