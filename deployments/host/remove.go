package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
)

// killTimeout is how long a remove waits for the database's processes to be gone after SIGKILL.
const killTimeout = 15 * time.Second

// Remove ends an instance's guest and database and takes away everything that a launch made. An instance that is not
// there is no error. A remove that failed, or was cut half way, is completed by the next. No launch brings the instance back. A full disk
// does not keep an instance from being removed: what has to be written then takes the place of the reserve.
func (h *Host) Remove(ctx context.Context, args deployments.RemoveArgs) error {
	return h.endLife(ctx, args, "")
}

// endLife is Remove by the command of that id.
func (h *Host) endLife(ctx context.Context, args deployments.RemoveArgs, life string) error {
	err := h.remove(ctx, args, life)
	if errors.Is(err, unix.ENOSPC) && os.Remove(h.reserved()) == nil {
		err = h.remove(ctx, args, life)
	}
	h.reserve()
	return err
}

// reserve keeps a little of the disk aside for removes. Without it removes work as long as the disk is not full.
func (h *Host) reserve() {
	const size = 1 << 20
	if _, err := os.Stat(h.reserved()); err == nil {
		return
	}
	f, err := os.OpenFile(h.reserved(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(allocate(f, size), f.Close())
	}
	if err != nil {
		_ = os.Remove(h.reserved())
		h.log.Warn("the disk is full: instances may not be removable until there is room", "dir", h.cfg.Dir, "err", err)
	}
}

func (h *Host) reserved() string { return filepath.Join(h.cfg.Dir, "reserve") }

func (h *Host) remove(ctx context.Context, args deployments.RemoveArgs, life string) error {
	if !uuidPattern.MatchString(args.InstanceID) {
		return agentpoll.Errorf(agentpoll.Invalid, "instance_id: %q is not a UUID", args.InstanceID)
	}
	inst, err := h.end(args.InstanceID, life)
	if err != nil {
		return err
	}
	if inst == nil {
		return removeRemains(h.dir(args.InstanceID))
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if h.find(inst.id) != inst {
		return nil // another remove was faster
	}
	if err := h.takeAway(ctx, inst); err != nil {
		return fmt.Errorf("cannot remove instance %s: %w", inst.id, err)
	}
	h.forget(inst)
	return nil
}

// endedFor is how long an instance is known to have been removed: longer than any launch of it can be on its way.
const endedFor = 7 * 24 * time.Hour

// end finds the instance, and writes down that its id has come to its end: a launch that waits behind others, or installs packages,
// may come after the remove.
func (h *Host) end(id, life string) (*instance, error) {
	if err := os.MkdirAll(h.ended(), 0o700); err != nil {
		return nil, err
	}
	old, err := os.ReadDir(h.ended())
	if err != nil {
		return nil, err
	}
	for _, e := range old {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > endedFor {
			_ = os.Remove(filepath.Join(h.ended(), e.Name()))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.instances[id], os.WriteFile(filepath.Join(h.ended(), id), []byte(life), 0o600)
}

func (h *Host) ended() string { return filepath.Join(h.cfg.Dir, "removed") }

// takeAway undoes a launch. The processes go first; state.json goes last.
func (h *Host) takeAway(ctx context.Context, inst *instance) error {
	inst.rec.Removing = true
	if _, err := os.Stat(inst.dir); err == nil {
		if err := inst.save(); err != nil {
			return err
		}
	}
	if err := h.driver(inst).remove(ctx, inst); err != nil {
		return err
	}
	if err := unmount(inst.mountPoint()); err != nil {
		return err
	}
	return removeDir(inst.dir)
}

// removeDir removes an instance's directory so that a half removed one is still known: state.json is the last file.
func removeDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == stateFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// removeRemains removes the directory of an instance that this host does not know: an unfinished remove, or a launch
// that was cut before it wrote anything. One whose state.json could not be read is left for a person to look at.
func removeRemains(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err == nil {
		return fmt.Errorf("cannot remove %s: its %s cannot be read; repair it and start the host agent again", dir, stateFile)
	}
	return removeDir(dir)
}
