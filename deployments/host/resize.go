package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
)

// Resize gives an instance another size. What was half done when it was cut is finished by the next one, or by the next
// start of the host. The volume is first, since only it may have to wait for the database server to be stopped.
func (h *Host) Resize(ctx context.Context, args deployments.ResizeArgs) (deployments.ResizeReply, error) {
	var none deployments.ResizeReply
	if problems := resizeProblems(args); len(problems) > 0 {
		return none, agentpoll.Errorf(agentpoll.Invalid, "cannot resize instance %q: %v", args.InstanceID, errors.Join(problems...))
	}
	inst := h.find(args.InstanceID)
	if inst == nil {
		return none, agentpoll.Errorf(agentpoll.NotFound, "instance %s is not on this host", args.InstanceID)
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if err := inst.resizable(args); err != nil {
		return none, err
	}
	refused, err := h.resizeVolume(ctx, inst, args)
	if err != nil {
		return none, fmt.Errorf("cannot resize the volume of instance %s: %w", inst.id, err)
	}
	if refused != "" {
		return deployments.ResizeReply{StopFirst: true, Notes: []string{refused}}, nil
	}
	inst.rec.Launch.MemoryMB = cmp.Or(args.MemoryMB, inst.rec.Launch.MemoryMB)
	inst.rec.Launch.VCPUs = cmp.Or(args.VCPUs, inst.rec.Launch.VCPUs)
	if err := inst.save(); err != nil {
		return none, err
	}
	notes, err := h.ensure(ctx, inst, "")
	if err != nil {
		return none, fmt.Errorf("cannot resize instance %s: %w", inst.id, err)
	}
	return deployments.ResizeReply{Notes: notes}, nil
}

func resizeProblems(args deployments.ResizeArgs) []error {
	var problems []error
	if !uuidPattern.MatchString(args.InstanceID) {
		problems = append(problems, errors.New("instance_id: want a UUID"))
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"volume_gb", args.VolumeGB}, {"memory_mb", args.MemoryMB}, {"vcpus", args.VCPUs}} {
		if n.value < 0 {
			problems = append(problems, fmt.Errorf("%s: %d is negative", n.name, n.value))
		}
	}
	return problems
}

// resizable tells why an instance, as it is recorded, cannot be given that size.
func (i *instance) resizable(args deployments.ResizeArgs) error {
	has := i.rec.Launch.VolumeGB
	switch {
	case i.rec.Removing:
		return agentpoll.Errorf(agentpoll.Conflict, "instance %s is being removed", i.id)
	case i.rec.Volume == "":
		return agentpoll.Errorf(agentpoll.Conflict, "instance %s is half launched: launch it again first", i.id)
	case args.VolumeGB > 0 && args.VolumeGB < has:
		return agentpoll.Errorf(agentpoll.Invalid, "volume_gb: the volume of instance %s has %d GB and cannot shrink to %d", i.id, has, args.VolumeGB)
	}
	return nil
}

// resizeVolume grows the volume, unless it has that size. refused says why it cannot while the database server runs; then
// nothing was changed. The record has the new size only when the volume has it.
func (h *Host) resizeVolume(ctx context.Context, i *instance, args deployments.ResizeArgs) (refused string, err error) {
	if args.VolumeGB == 0 || args.VolumeGB == i.rec.Launch.VolumeGB {
		return "", nil
	}
	switch {
	case i.rec.Volume == volumeDirectory:
		i.rec.VolumeNote = cmp.Or(i.rec.VolumeNote, "the volume is a plain directory without a limit: it was made without a size")
	case args.Stopped:
		if err := h.driver(i).release(ctx, i); err != nil {
			return "", err
		}
		return "", i.growUnmounted(ctx, args.VolumeGB)
	default:
		if err := i.ensureVolume(ctx); err != nil {
			return "", err
		}
		err := growMounted(ctx, i.path(volumeImage), i.mountPoint(), args.VolumeGB)
		if ctx.Err() != nil {
			return "", err
		}
		if err != nil {
			return fmt.Sprintf("the volume cannot grow while the database server runs: %v", err), nil
		}
	}
	i.rec.Launch.VolumeGB = args.VolumeGB
	return "", i.save()
}
