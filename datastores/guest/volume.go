package guest

import (
	"sync"
	"syscall"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// space measures the filesystem that holds the data.
type space struct {
	path string

	mu     sync.Mutex
	last   datastores.VolumeUsage // as reported
	scarce bool                   // the last word about space
}

// nearlyFull is said while there is little space left; without numbers, for a text that changes is told anew.
const nearlyFull = "The volume is nearly full: make it larger, or delete data."

// Shares of the whole volume: with how little space left a warning begins, and with how much it ends.
const (
	scarceAt = 0.10
	ampleAt  = 0.15
)

// usage returns nil when there is no data directory yet. What is used is told anew when it has changed by 1 % of the
// whole or 1 MiB, whichever is more: a status that differs is sent at once, and an idle server writes a little always.
func (v *space) usage() *datastores.VolumeUsage {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(v.path, &fs); err != nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = steady(v.last, datastores.VolumeUsage{
		Total: int64(fs.Blocks) * fs.Bsize,
		Used:  int64(fs.Blocks-fs.Bfree) * fs.Bsize,
	})
	told := v.last
	return &told
}

// warning is what to say about the space that is left for the server; "" when there is enough, or the filesystem is not the
// instance's own: then neither cause nor cure is.
func (v *space) warning() string {
	var fs syscall.Statfs_t
	if syscall.Statfs(v.path, &fs) != nil || fs.Blocks == 0 || !v.own() {
		return ""
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	limit := scarceAt
	if v.scarce {
		limit = ampleAt
	}
	if v.scarce = float64(fs.Bavail) < limit*float64(fs.Blocks); v.scarce {
		return nearlyFull
	}
	return ""
}

// own reports whether the data has the filesystem to itself, so that what is used there is its own.
func (v *space) own() bool {
	return volume.At(v.path).Alone()
}

// steady returns last until now differs enough from it.
func steady(last, now datastores.VolumeUsage) datastores.VolumeUsage {
	step := max(now.Total/100, 1<<20)
	if now.Total == last.Total && now.Used-last.Used < step && last.Used-now.Used < step {
		return last
	}
	return now
}
