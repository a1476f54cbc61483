package host

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cofferdb/coffer/deployments"
)

// announce is the host's status: a [deployments.Announcement]. The agent sends it when it differs from the last one.
func (h *Host) announce(context.Context) json.RawMessage {
	refused, notes := h.binaries.refused()
	managers := h.binaries.managers()
	images, more := h.newcomers().images()
	b, err := json.Marshal(deployments.Announcement{
		Machine: deployments.Machine{
			Name:       h.cfg.Name,
			Driver:     h.cfg.Driver,
			Capacity:   h.capacity(),
			Pool:       h.pool,
			Unfiltered: !h.newcomers().filters(),
		},
		Place: h.cfg.Place,
		Offer: deployments.Offer{
			Managers:  managers,
			Refused:   refused,
			Digests:   h.binaries.digests(),
			Images:    images,
			Inventory: h.inventory(managers, images),
			Notes:     slices.Concat(h.notes(), notes, more),
		},
	})
	if err != nil {
		h.log.Error("cannot describe this host", "err", err)
	}
	return b
}

// notes say what this machine cannot do.
func (h *Host) notes() []string {
	notes := h.newcomers().notes()
	if err := loopsAllowed(); err != nil {
		notes = append(notes, fmt.Sprintf("no volumes, only directories without a limit: %v", err))
	}
	return notes
}

// capacity is the machine's, but for what the configuration says instead.
func (h *Host) capacity() deployments.Capacity {
	c := h.cfg.Capacity
	c.VCPUs = cmp.Or(c.VCPUs, runtime.NumCPU())
	if c.MemoryMB == 0 {
		if b, err := os.ReadFile("/proc/meminfo"); err == nil {
			c.MemoryMB = memoryTotalMB(string(b))
		}
	}
	if c.DiskGB == 0 {
		c.DiskGB = h.diskGB()
	}
	return c
}

// diskGB is how much volumes may take together: what they have of the file system, and what it has left, but for a reserve of a
// twentieth, at most 10 GB, for images, logs and journals. So nothing is promised twice, and what others put there is not promised at
// all. Where volumes are directories without a limit it is the file system's size.
func (h *Host) diskGB() int {
	var fs unix.Statfs_t
	if err := unix.Statfs(h.cfg.Dir, &fs); err != nil {
		return 0
	}
	block := uint64(fs.Bsize)
	if loopsAllowed() != nil {
		return int(fs.Blocks * block >> 30)
	}
	bytes := fs.Bavail * block
	for _, i := range h.list() {
		var image unix.Stat_t
		if err := unix.Stat(i.path(volumeImage), &image); err == nil {
			bytes += uint64(image.Blocks) * 512 // stat(2)
		}
	}
	reserve := min(fs.Blocks*block/20, 10<<30)
	return int((max(bytes, reserve) - reserve) >> 30)
}

// memoryTotalMB reads a /proc/meminfo; 0 when it does not say.
func memoryTotalMB(meminfo string) int {
	var kB int
	for line := range strings.Lines(meminfo) {
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kB); err == nil {
			break
		}
	}
	return kB / 1024
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
