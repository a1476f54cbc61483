package guest

import (
	"context"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

// The words of datastores.LogStatus.
const (
	logDisabled    = "Disabled"         // and there is nothing in it
	logEnabled     = "Enabled"          // and there is nothing in it
	logUnavailable = "Unavailable"      // a log of the system that has not been written yet
	logReady       = "Ready"            // nothing was published
	logPublished   = "Published"        // all of it
	logPartial     = "Partial"          // published, but for what has been written since
	logRotated     = "Rotated"          // another file than what was published of
	logRestart     = "Restart_Required" // to turn it on or off
)

func (g *Guest) logList(ctx context.Context, _ call, m datastores.Logs, _ none) (datastores.LogList, error) {
	list := datastores.LogList{Logs: []datastores.LogStatus{}}
	for _, l := range g.exposed(m) {
		st, err := g.logStatus(ctx, m, l)
		if err != nil {
			return datastores.LogList{}, err
		}
		list.Logs = append(list.Logs, st)
	}
	return list, nil
}

// exposed are the logs that tenants may see: the system's, and those that the guest options name.
func (g *Guest) exposed(m datastores.Logs) []datastores.Log {
	names := g.served.Load().options.GuestLogExposedLogs
	return slices.DeleteFunc(slices.Clone(m.Logs()), func(l datastores.Log) bool {
		return l.Type != datastores.SystemLog && !slices.Contains(names, l.Name)
	})
}

// logAction turns a log on or off in the caller's turn. What it publishes it sends without: that may take a while.
func (g *Guest) logAction(ctx context.Context, _ agent.Command, args datastores.LogArgs) (status datastores.LogStatus, err error) {
	var m datastores.Logs
	l, err := inTurn(ctx, g, g.prepared, func(s *served) (l datastores.Log, err error) {
		able, ok := s.manager.(datastores.Logs)
		if !ok {
			return l, datastores.Errorf(datastores.Unsupported, "this datastore has no logs")
		}
		m = able
		if l, err = g.checkLog(m, args); err == nil && (args.Enable || args.Disable) {
			err = g.setLog(ctx, m, l.Name, args.Enable)
		}
		return l, err
	})
	if err != nil {
		return status, err
	}
	if args.Discard {
		if err := g.discard(ctx, l.Name); err != nil {
			return status, err
		}
	}
	if args.Publish {
		if err := g.publish(ctx, l.Name, m.LogFile(l.Name)); err != nil {
			return status, err
		}
	}
	return g.logStatus(ctx, m, l)
}

// checkLog finds the log and refuses what cannot be done with it, as Trove does.
func (g *Guest) checkLog(m datastores.Logs, args datastores.LogArgs) (datastores.Log, error) {
	exposed := g.exposed(m)
	i := slices.IndexFunc(exposed, func(l datastores.Log) bool { return l.Name == args.Name })
	switch {
	case i < 0:
		return datastores.Log{}, datastores.Errorf(datastores.Invalid, "there is no log %q", args.Name)
	case args.Enable && args.Disable, (args.Enable || args.Disable) && args.Discard:
		return datastores.Log{}, datastores.Errorf(datastores.Invalid, "log %q: want one of enable, disable and discard at a time", args.Name)
	case exposed[i].Type == datastores.SystemLog && (args.Enable || args.Disable):
		return datastores.Log{}, datastores.Errorf(datastores.Invalid, "log %q is of the system: it is always on", args.Name)
	}
	return exposed[i], nil
}

func (g *Guest) setLog(ctx context.Context, m datastores.Logs, name string, on bool) error {
	if g.logbook.get(name).Enabled == on {
		return nil
	}
	restart, err := m.SetLog(ctx, name, on)
	if err != nil {
		return err
	}
	return g.logbook.change(name, func(e *logEntry) {
		e.Enabled, e.Set = on, time.Time{}
		if restart {
			e.Set = time.Now()
		}
	})
}

func (g *Guest) logStatus(ctx context.Context, m datastores.Logs, l datastores.Log) (datastores.LogStatus, error) {
	e := g.logbook.get(l.Name)
	file, err := g.lookAt(m.LogFile(l.Name), e.Identity)
	if err != nil {
		return datastores.LogStatus{}, err
	}
	st := datastores.LogStatus{Log: l, Published: e.Published, Pending: file.size - e.Published}
	rotated := e.Published > 0 && !file.continues(e)
	switch {
	case !e.Set.IsZero() && !g.served.Load().manager.Status(ctx).Since.After(e.Set):
		st.Status = logRestart
	case l.Type == datastores.UserLog && !e.Enabled:
		st.Status = logDisabled
	case file.size == 0 && l.Type == datastores.UserLog:
		st.Status = logEnabled
	case file.size == 0:
		st.Status = logUnavailable
	case rotated:
		st.Status = logRotated
	case e.Published == 0:
		st.Status = logReady
	case st.Pending > 0:
		st.Status = logPartial
	default:
		st.Status = logPublished
	}
	if rotated {
		st.Pending = file.size
	}
	return st, nil
}
