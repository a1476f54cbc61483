package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/deployments"
)

// Launch makes an instance and starts its guest, or changes what differs of one that is there. Doing it again ends in
// the same state. The manager, address, mount point and volume size of an instance cannot be changed so; see [Host.Resize].
func (h *Host) Launch(ctx context.Context, args deployments.LaunchArgs) (deployments.LaunchReply, error) {
	return h.launch(ctx, args, "", func(string) {})
}

func (h *Host) launch(ctx context.Context, args deployments.LaunchArgs, life string, say func(message string)) (deployments.LaunchReply, error) {
	var none deployments.LaunchReply
	if problems := h.problems(args); len(problems) > 0 {
		return none, agentpoll.Errorf(agentpoll.Invalid, "cannot launch instance %q: %v", args.InstanceID, errors.Join(problems...))
	}
	if err := h.binaries.check(args.Manager); err != nil {
		return none, err
	}
	if err := h.equip(ctx, args, say); err != nil {
		return none, err
	}
	inst, err := h.claim(args, life)
	if err != nil {
		return none, err
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if err := inst.accept(args); err != nil {
		return none, err
	}
	notes, err := h.ensure(ctx, inst, args.Token)
	if err != nil {
		return none, fmt.Errorf("cannot launch instance %s: %w", inst.id, err)
	}
	return deployments.LaunchReply{Volume: inst.rec.Volume, Notes: notes}, nil
}

// equip installs the packages that the guest and the server need where they will run.
func (h *Host) equip(ctx context.Context, args deployments.LaunchArgs, say func(message string)) error {
	if args.Image != "" && h.cfg.Driver != driverSandbox {
		return agentpoll.Errorf(agentpoll.Unsupported, "image %s: only -driver %s runs instances in images", args.Image, driverSandbox)
	}
	tree, err := h.images.tree(args.Image)
	if err != nil {
		return err
	}
	return service.System(tree).Install(ctx, args.Packages, func(missing []string) {
		h.log.Info("installing packages", "packages", missing, "tree", tree)
		say("installing packages: " + strings.Join(missing, " "))
	})
}

// accept takes over what is asked for and writes it down, before anything is made.
func (i *instance) accept(args deployments.LaunchArgs) error {
	was := i.rec.Launch
	switch {
	case i.rec.Removing:
		return agentpoll.Errorf(agentpoll.Conflict, "instance %s is being removed", i.id)
	case was.Manager != args.Manager, was.Address != args.Address, was.MountPoint != args.MountPoint:
		return agentpoll.Errorf(agentpoll.Conflict, "instance %s is there with manager %s, address %s, mount point %s: these cannot be changed",
			i.id, was.Manager, was.Address, was.MountPoint)
	case i.rec.Volume != "" && was.VolumeGB != args.VolumeGB:
		return agentpoll.Errorf(agentpoll.Conflict, "instance %s has a volume of %d GB: only a resize changes that", i.id, was.VolumeGB)
	}
	// The guest's directory is root's; the database's user may pass through it to what the guest gives to it.
	mode := os.FileMode(0o711)
	if i.uid < 0 {
		mode = 0o700
	}
	for _, dir := range []string{i.dir, i.path("root"), i.path("guest")} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
	}
	args.Token = ""
	i.rec.Launch = args
	return i.save()
}

var (
	uuidPattern    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	managerPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
)

// problems is everything that is wrong with what is asked for. The id and the manager become names of files.
func (h *Host) problems(args deployments.LaunchArgs) []error {
	var problems []error
	bad := func(format string, values ...any) { problems = append(problems, fmt.Errorf(format, values...)) }
	if !uuidPattern.MatchString(args.InstanceID) {
		bad("instance_id: want a UUID")
	}
	if !managerPattern.MatchString(args.Manager) {
		bad("manager: %q is not a manager's name", args.Manager)
	}
	address, err := netip.ParseAddr(args.Address)
	if known := h.find(args.InstanceID); err != nil || known == nil && !h.pool.Usable(address) { // a pool may be changed
		bad("address: %q is not a usable address of this host's pool %s", args.Address, h.pool)
	} else if _, err := rulesOf(address, args.Firewall); err != nil {
		bad("firewall: %w", err)
	}
	if !strings.HasPrefix(args.MountPoint, "/") || filepath.Clean(args.MountPoint) != args.MountPoint || args.MountPoint == "/" {
		bad("mount_point: %q is not a clean absolute path such as /var/lib/mysql", args.MountPoint)
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"volume_gb", args.VolumeGB}, {"memory_mb", args.MemoryMB}, {"vcpus", args.VCPUs}} {
		if n.value < 0 {
			bad("%s: %d is negative", n.name, n.value)
		}
	}
	return problems
}
