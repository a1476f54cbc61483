package etcdschema

import (
	"bytes"
	"sync"
)

// judged remembers the definitions that were found good, by what they were when they were: a version with hundreds of
// parameters takes a millisecond to judge, and every create reads all of them. What has changed since is judged anew.
type judged struct {
	mu   sync.Mutex
	good map[versionName]goodVersion
}

type goodVersion struct {
	halves  halves
	version Version
}

func (j *judged) get(name versionName, h halves) (Version, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	g, ok := j.good[name]
	// Not by their revisions: those come again with other values when etcd is restored.
	return g.version, ok && bytes.Equal(g.halves[0].value, h[0].value) && bytes.Equal(g.halves[1].value, h[1].value)
}

func (j *judged) put(name versionName, h halves, v Version) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.good == nil {
		j.good = map[versionName]goodVersion{}
	}
	j.good[name] = goodVersion{h, v}
}

// keep forgets what is defined no more.
func (j *judged) keep(defined map[versionName]halves) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for name := range j.good {
		if _, ok := defined[name]; !ok {
			delete(j.good, name)
		}
	}
}
