package guest

import (
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cofferdb/coffer/datastores"
)

// volume measures the filesystem that holds the data.
type volume struct {
	path string

	mu   sync.Mutex
	last datastores.VolumeUsage // as reported
}

// usage returns nil when there is no data directory yet. What is used is told anew when it has changed by 1 % of the
// whole or 1 MiB, whichever is more: a status that differs is sent at once, and an idle server writes a little always.
func (v *volume) usage() *datastores.VolumeUsage {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(v.path, &fs); err != nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = settle(v.last, datastores.VolumeUsage{
		Total: int64(fs.Blocks) * fs.Bsize,
		Used:  int64(fs.Blocks-fs.Bfree) * fs.Bsize,
	})
	told := v.last
	return &told
}

// own tells whether the data has the filesystem to itself, so that what is used there is its own.
func (v *volume) own() bool {
	var here, above syscall.Stat_t
	return syscall.Stat(v.path, &here) == nil && syscall.Stat(filepath.Dir(v.path), &above) == nil && here.Dev != above.Dev
}

// settle returns last until now differs enough from it.
func settle(last, now datastores.VolumeUsage) datastores.VolumeUsage {
	step := max(now.Total/100, 1<<20)
	if now.Total == last.Total && now.Used-last.Used < step && last.Used-now.Used < step {
		return last
	}
	return now
}
