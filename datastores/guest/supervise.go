package guest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	checkEvery   = 5 * time.Second
	firstDelay   = time.Second     // before a crashed server is started again; doubles with every crash
	longestDelay = time.Minute     // of these
	calm         = 2 * time.Minute // after running for so long a server starts over with firstDelay
	startTimeout = 5 * time.Minute
)

// supervise keeps the server running when it should run. A server that is not there at the beginning went with its machine
// and is started at once; one that goes later has crashed: that is reported, then it is started again.
func (g *Guest) supervise(ctx context.Context) {
	g.remount(ctx)
	if g.observe(ctx).Service == datastores.StatusCrashed {
		g.log.Warn("the database server should run and does not: starting it (was the machine restarted?)")
		g.revive(ctx)
	}
	delay, trouble := firstDelay, ""
	for service.Pause(ctx, checkEvery) {
		g.trimLogs()
		st := g.observe(ctx)
		if st.Restart != "" {
			g.refresh(ctx)
		}
		if st.Service != datastores.StatusCrashed {
			if !st.Since.IsZero() && time.Since(st.Since) > calm {
				delay = firstDelay
			}
			switch st.Service {
			case datastores.StatusHealthy:
				trouble = g.upkeep(ctx, trouble)
				g.renewTLS(ctx)
			case datastores.StatusBlocked:
				trouble = g.mend(ctx, trouble)
			}
			continue
		}
		g.log.Error("the database server is gone and nobody asked it to: it will be started", "delay", delay)
		g.agent.StatusChanged()
		if !service.Pause(ctx, delay) {
			return
		}
		delay = min(2*delay, longestDelay)
		g.revive(ctx)
	}
}

// remount mounts the volume of a prepared server, which may be stopped, after the machine was restarted.
func (g *Guest) remount(ctx context.Context) {
	release, err := g.take(ctx)
	if err != nil {
		return
	}
	defer release()
	if g.state.get().Phase != phasePrepared {
		return
	}
	if err := g.mount(ctx, g.served.Load(), false); err != nil {
		g.log.Error("the volume of the database server is missing", "err", err)
	}
}

// revive starts a crashed server, unless somebody else was quicker.
func (g *Guest) revive(ctx context.Context) {
	release, err := g.take(ctx)
	if err != nil {
		return
	}
	defer release()
	if g.observe(ctx).Service != datastores.StatusCrashed {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := g.aside.end(ctx, "the database server is gone"); err != nil {
		g.log.Warn("the database server cannot be started yet", "err", err)
		return
	}
	s := g.served.Load()
	if err = g.mount(ctx, s, false); err == nil {
		_, err = g.launch(ctx, s, s.manager.Start)
	}
	if ctx.Err() != nil && err != nil {
		g.log.Warn("the database server has not answered yet", "err", err)
		return
	}
	if err != nil {
		told := datastores.Told(err)
		g.trouble.Store(&told.Message)
		g.log.Error("the database server cannot be started", "err", told.Message, "detail", told.Detail)
		return
	}
	g.log.Info("the database server runs again")
	g.agent.StatusChanged()
}

// observe asks the manager for the server's status and puts it into words with what the manager cannot know.
func (g *Guest) observe(ctx context.Context) datastores.Status {
	operation := g.operations.Load()
	s := g.state.get()
	if g.broken != nil {
		return datastores.Status{Service: brokenIs(s.Phase), Message: datastores.Told(g.broken).Message}
	}
	var st datastores.Status
	switch s.Phase {
	case phaseNew:
		return datastores.Status{Service: datastores.StatusNew}
	case phaseBuilding:
		st.Service = datastores.StatusBuilding
	case phaseFailed:
		st.Service = datastores.StatusFailed
	case phasePrepared:
		st = g.served.Load().manager.Status(ctx)
		// A server that is gone while a command starts or stops it, or that one touched while it was asked, has not
		// crashed as far as anybody can tell. One whose data is half way to something is started by that command alone.
		quiet := operation%2 == 0 && operation == g.operations.Load() && !s.between()
		st.Message = clean(st)
		switch gone := st.Service == datastores.StatusShutdown || st.Service == datastores.StatusCrashed; {
		case gone && s.Running && quiet:
			st.Service = datastores.StatusCrashed
			if trouble := g.trouble.Load(); trouble != nil {
				st.Message = *trouble
			}
		case gone && s.between():
			st.Service, st.Message = datastores.StatusShutdown, "an upgrade, or the way to a source, has begun and not ended"
		case gone:
			st.Service = datastores.StatusShutdown
		}
	}
	st.Refused = s.Overrides.Refused
	st.Volume, st.Warning = g.volume.usage(), g.volume.warning()
	if s.Phase == phasePrepared {
		st.TLS, st.Warning = g.reportedTLS(), cmp.Or(st.Warning, g.shipper.warning(), g.tlsWarning())
	}
	return st
}

// brokenIs is how the server is as far as a guest without a manager can tell: it may run, and is not reached.
func brokenIs(p phase) datastores.ServiceStatus {
	switch p {
	case phaseNew:
		return datastores.StatusNew
	case phasePrepared:
		return datastores.StatusBlocked
	}
	return datastores.StatusFailed
}

// clean makes a manager's message fit for tenants: an error's text, or the last words of a server that is gone.
func clean(st datastores.Status) string {
	switch {
	case st.Message == "":
		return ""
	case st.Service == datastores.StatusBlocked:
		return datastores.Told(errors.New(st.Message)).Message
	}
	return "the server has ended: " + datastores.Reason(st.Message)
}

// status is what the agent reports.
func (g *Guest) status(ctx context.Context) json.RawMessage {
	st := g.observe(ctx)
	if g.broken == nil && g.state.get().Phase == phasePrepared {
		st.Replication = g.following(ctx, st)
		st.Shipped = g.shipper.shipped()
		st.Able = &datastores.Able{Capabilities: datastores.Capabilities(g.served.Load().manager)}
	}
	b, err := json.Marshal(st)
	if err != nil {
		g.log.Error("cannot report the status", "err", err)
		return nil
	}
	return b
}
