package host

import (
	"context"
	"fmt"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
)

// Protect changes who may reach an instance, and whom it may reach. An instance that is not there is no error. When the rules cannot be
// had, those before stay.
func (h *Host) Protect(ctx context.Context, args deployments.ProtectArgs) (none deployments.ProtectReply, err error) {
	inst := h.find(args.InstanceID)
	if inst == nil {
		return none, nil
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if inst.rec.Removing {
		return none, nil
	}
	if _, err := rulesOf(inst.address, args.Firewall); err != nil {
		return none, agentpoll.Errorf(agentpoll.Invalid, "firewall: %v", err)
	}
	was := inst.rec.Launch.Firewall
	inst.rec.Launch.Firewall = args.Firewall
	notes, err := h.driver(inst).protect(ctx, inst)
	if err != nil {
		inst.rec.Launch.Firewall = was
		return none, fmt.Errorf("cannot change who may reach instance %s: %w", inst.id, err)
	}
	return deployments.ProtectReply{Notes: notes}, inst.save()
}
