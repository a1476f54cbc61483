package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// upgrade gives the data to the manager of another version. Whose it is stands in the state at every moment: Options' until
// Upgrading is set, nobody's to start while it is, the new version's afterwards.
func (g *Guest) upgrade(ctx context.Context, cmd agent.Command, args datastores.UpgradeArgs) (none, error) {
	say := func(message string) { cmd.Progress(agentpoll.Progress{Message: message}) }
	if g.state.get().Phase != phasePrepared {
		return none{}, g.prepared()
	}
	next, err := g.successor(args)
	if err != nil {
		return none{}, err
	}
	if cmd.Repeated && g.state.get().Upgrading == nil && bytes.Equal(next.raw, g.served.Load().raw) {
		_, err := g.start(ctx, cmd, none{}) // the earlier run was through: tenants are not interrupted twice
		return none{}, err
	}
	if err := service.System("").Demand(ctx, next.options.Packages); err != nil {
		return none{}, err
	}
	if err := g.checkUpgrade(ctx, next, true, say); err != nil {
		return none{}, err
	}
	release, err := g.takeAlone(ctx, "the upgrade needs the server for itself")
	if err != nil {
		return none{}, err
	}
	defer release()
	defer g.agent.StatusChanged()
	g.operations.Add(1)
	defer g.operations.Add(1)
	return none{}, g.handOver(ctx, g.served.Load(), next, say)
}

// upgradeCheckTimeout is how long a manager may look for what is in the way.
const upgradeCheckTimeout = 2 * time.Minute

// inspect says what is in the way of an upgrade, as far as it is known before the host has brought what the new version needs.
func (g *Guest) inspect(ctx context.Context, cmd agent.Command, args datastores.UpgradeArgs) (none, error) {
	if g.state.get().Phase != phasePrepared {
		return none{}, g.prepared()
	}
	next, err := g.successor(args)
	if err != nil {
		return none{}, err
	}
	return none{}, g.checkUpgrade(ctx, next, false, func(message string) { cmd.Progress(agentpoll.Progress{Message: message}) })
}

// checkUpgrade refuses an upgrade that would fail, while the server still runs. What nobody can tell beforehand the upgrade
// finds out. brought: the new version's programs are there, to be asked.
func (g *Guest) checkUpgrade(ctx context.Context, next *served, brought bool, say func(string)) error {
	release, err := g.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	now := g.state.get()
	if !now.Running || now.between() {
		return nil
	}
	say("looking for what the new version does not take over")
	if c, ok := next.manager.(datastores.Configuration); ok {
		if err := checkOverrides(c, now.Overrides.Set); err != nil {
			return err
		}
		if brought {
			if err := g.tryOverrides(ctx, c, now.Overrides.Set); err != nil {
				return err
			}
		}
	}
	checker, ok := next.manager.(datastores.UpgradeChecker)
	if !ok {
		return nil
	}
	trial, cancel := context.WithTimeout(ctx, upgradeCheckTimeout)
	defer cancel()
	err = checker.CheckUpgrade(trial, datastores.UpgradeRequest{From: g.served.Load().raw, Progress: say})
	if err == nil || isKind(err, datastores.Invalid) || ctx.Err() != nil {
		return err
	}
	g.log.Warn("it is not known what the new version does not take over", "err", err)
	return nil
}

// successor makes the manager of the new version, which must take over where the old one is.
func (g *Guest) successor(args datastores.UpgradeArgs) (*served, error) {
	if len(args.Options) == 0 {
		return nil, datastores.Errorf(datastores.Invalid, "the options of the version to upgrade to are missing")
	}
	options, err := json.Marshal(args.Options) // the same bytes as they come back from the state's file
	if err != nil {
		return nil, err
	}
	next, err := g.serve(options)
	if err != nil {
		return nil, datastores.Errorf(datastores.Invalid, "the version to upgrade to: %v", err)
	}
	if _, ok := next.manager.(datastores.Upgrader); !ok {
		return nil, datastores.Errorf(datastores.Unsupported, "this datastore cannot be upgraded")
	}
	now := g.served.Load().options
	if next.options.MountPoint != now.MountPoint || next.options.DevicePath != now.DevicePath {
		return nil, datastores.Errorf(datastores.Invalid,
			"an upgrade cannot move the volume: it is %s at %s, and would be %s at %s",
			now.DevicePath, now.MountPoint, next.options.DevicePath, next.options.MountPoint)
	}
	return next, nil
}

// handOver stops the server with the old manager and has the new one upgrade and start it.
func (g *Guest) handOver(ctx context.Context, old, next *served, say func(string)) error {
	if err := g.mount(ctx, old, false); err != nil {
		return err
	}
	if err := errors.Join(g.beginTLS(next), g.bringTLS(ctx, next, signAsked)); err != nil {
		return err
	}
	cut := g.state.get().Upgrading
	say("stopping the server")
	if err := g.stopAll(ctx, old, cut); err != nil {
		return err
	}
	if err := g.state.change(func(s *state) { s.Upgrading = next.raw }); err != nil {
		return err
	}
	err := next.manager.(datastores.Upgrader).Upgrade(ctx, datastores.UpgradeRequest{From: old.raw, Progress: say})
	switch {
	case isKind(err, datastores.Invalid) && cut != nil && !bytes.Equal(cut, next.raw):
		// This version has changed nothing, another one has before.
		return errors.Join(err, g.state.change(func(s *state) { s.Upgrading = cut }))
	case isKind(err, datastores.Invalid):
		return errors.Join(err, g.backToOld(ctx, old))
	case err != nil:
		return err
	}
	if err := g.state.change(func(s *state) { s.Options, s.Upgrading, s.Running = next.raw, nil, true }); err != nil {
		return err
	}
	g.served.Store(next)
	g.trouble.Store(nil)
	return nil
}

// stopAll stops the server; also the one that an upgrade may have started before it was cut.
func (g *Guest) stopAll(ctx context.Context, old *served, cut json.RawMessage) error {
	if err := old.manager.Stop(ctx); err != nil || cut == nil {
		return err
	}
	half, err := g.serve(cut)
	if err != nil {
		return err
	}
	return half.manager.Stop(ctx)
}

// backToOld starts what could not be upgraded, if it ran before.
func (g *Guest) backToOld(ctx context.Context, old *served) error {
	if err := g.state.change(func(s *state) { s.Upgrading = nil }); err != nil || !g.state.get().Running {
		return err
	}
	return old.manager.Start(ctx)
}
