package guest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

// snapshot makes the server ready to be the source of one more replica.
func (g *Guest) snapshot(ctx context.Context, cmd agent.Command, args datastores.SnapshotArgs) (result datastores.SnapshotResult, err error) {
	start, err := withReplication(ctx, g, args.StrategyArgs, func(r datastores.ReplicationStrategy) (datastores.StrategyName, error) {
		return r.StartsFrom, r.Source.AddReplica(ctx, args.Account)
	})
	if err != nil || start.IsZero() || args.AccountOnly {
		return result, err
	}
	made, err := g.backup(ctx, cmd, args.Backup, func(s *served) (datastores.BackupStrategy, error) {
		if parent := args.Backup.Parent; parent != nil && parent.Strategy != start {
			return datastores.BackupStrategy{}, datastores.Errorf(datastores.Invalid,
				"a replica starts from a backup made with %s; backup %s was made with %s", start, parent.BackupID, parent.Strategy)
		} else if parent != nil {
			return incrementalStrategy(s, *parent)
		}
		return strategyOf(s, start)
	})
	if err == nil {
		result.Backup = &made
	}
	return result, err
}

// attach makes a prepared server a replica. Until it is one nobody else starts it.
func (g *Guest) attach(ctx context.Context, cmd agent.Command, args datastores.ReplicaArgs) (none, error) {
	job, err := replicate(g.served.Load(), args)
	if err != nil {
		return none{}, err
	}
	job.Request.Progress = func(message string) { cmd.Progress(agentpoll.Progress{Message: message}) }
	begin := func(s *state) { s.Running, s.Attaching = true, true }
	return none{}, g.operate(ctx, cmd.Method, begin, func(s *served) error {
		g.followed.forget()
		if err := g.followByTLS(ctx, s, args.TLS); err != nil {
			return errors.Join(err, g.state.change(func(s *state) { s.Attaching = false }))
		}
		err := job.Run(ctx)
		if err != nil && ending(ctx) {
			return err // the command comes again
		}
		return errors.Join(err, g.state.change(func(s *state) { s.Attaching = false }))
	})
}

// ending reports whether a command is cut because the guest ends: then it is run again by the next one. A command that the
// gateway has cancelled is not.
func ending(ctx context.Context) bool { return context.Cause(ctx) == context.Canceled }

func (g *Guest) detach(ctx context.Context, cmd agent.Command, args datastores.StrategyArgs) (none, error) {
	return none{}, g.reshape(ctx, cmd, args, func(r datastores.ReplicationStrategy) error { return r.Replica.Detach(ctx) })
}

func (g *Guest) promote(ctx context.Context, cmd agent.Command, args datastores.PromoteArgs) (none, error) {
	return none{}, g.reshape(ctx, cmd, args.StrategyArgs, func(r datastores.ReplicationStrategy) error {
		if r.Failover != nil {
			if _, err := r.Failover.Await(ctx, args.Await); err != nil {
				return err
			}
		}
		return r.Replica.Promote(ctx, args.Accounts)
	})
}

func (g *Guest) awaitReplicas(ctx context.Context, _ agent.Command, args datastores.AwaitArgs) (datastores.Position, error) {
	return withFailover(ctx, g, args.StrategyArgs, func(f *datastores.Failover) (datastores.Position, error) { return f.Await(ctx, args.Await) })
}

func (g *Guest) stand(ctx context.Context, _ agent.Command, args datastores.StandArgs) (datastores.Position, error) {
	return withFailover(ctx, g, args.StrategyArgs, func(f *datastores.Failover) (datastores.Position, error) { return f.Stand(ctx, args.Fenced) })
}

func withFailover(ctx context.Context, g *Guest, args datastores.StrategyArgs, do func(*datastores.Failover) (datastores.Position, error)) (datastores.Position, error) {
	return withReplication(ctx, g, args, func(r datastores.ReplicationStrategy) (datastores.Position, error) {
		if r.Failover == nil {
			return datastores.Position{}, datastores.Errorf(datastores.Unsupported, "replicas of this datastore cannot take the place of a source by themselves")
		}
		return do(r.Failover)
	})
}

// reshape makes something else of a running server, which may take a restart of it.
func (g *Guest) reshape(ctx context.Context, cmd agent.Command, args datastores.StrategyArgs, do func(datastores.ReplicationStrategy) error) error {
	if err := g.usable(); err != nil {
		return err
	}
	return g.operate(ctx, cmd.Method, asIs, func(s *served) error {
		r, err := replication(s, args)
		if err != nil {
			return err
		}
		g.followed.forget()
		return do(r)
	})
}

func (g *Guest) cleanupSource(ctx context.Context, _ agent.Command, args datastores.CleanupArgs) (none, error) {
	return withReplication(ctx, g, args.StrategyArgs, func(r datastores.ReplicationStrategy) (none, error) {
		return none{}, r.Source.RemoveReplica(ctx, args.Account)
	})
}

func (g *Guest) makeReadOnly(ctx context.Context, _ agent.Command, args datastores.ReadOnlyArgs) (datastores.Position, error) {
	return withReplication(ctx, g, args.StrategyArgs, func(r datastores.ReplicationStrategy) (datastores.Position, error) {
		if err := r.Source.SetReadOnly(ctx, args.ReadOnly); err != nil {
			return datastores.Position{}, err
		}
		return r.Position(ctx)
	})
}

func (g *Guest) latestTxn(ctx context.Context, _ agent.Command, args datastores.StrategyArgs) (datastores.Position, error) {
	return withReplication(ctx, g, args, func(r datastores.ReplicationStrategy) (datastores.Position, error) {
		return r.Position(ctx)
	})
}

// waitSlice is how long a replica that is waited for keeps others from their turn.
const waitSlice = 2 * time.Second

// waitForTxn waits in slices, and lets everybody else who wants the server have it in between.
func (g *Guest) waitForTxn(ctx context.Context, _ agent.Command, args datastores.WaitArgs) (none, error) {
	for {
		come, err := withReplication(ctx, g, args.StrategyArgs, func(r datastores.ReplicationStrategy) (bool, error) {
			slice, cancel := context.WithTimeout(ctx, waitSlice)
			defer cancel()
			err := r.Replica.WaitFor(slice, args.Position)
			if err != nil && slice.Err() != nil && ctx.Err() == nil {
				return false, nil
			}
			return err == nil, err
		})
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("the replica has not come to %s: %w", args.Position.ID, err)
		}
		if come || err != nil {
			return none{}, err
		}
	}
}

// withReplication calls do with a strategy of a running server when it is the caller's turn.
func withReplication[R any](ctx context.Context, g *Guest, args datastores.StrategyArgs, do func(datastores.ReplicationStrategy) (R, error)) (R, error) {
	return inTurn(ctx, g, g.usable, func(s *served) (reply R, err error) {
		r, err := replication(s, args)
		if err != nil {
			return reply, err
		}
		return do(r)
	})
}

// replication finds the strategy that the gateway names, where the guest options say.
func replication(s *served, args datastores.StrategyArgs) (datastores.ReplicationStrategy, error) {
	r, ok := s.manager.(datastores.Replication)
	if !ok {
		return datastores.ReplicationStrategy{}, datastores.Errorf(datastores.Unsupported, "this datastore has no replicas")
	}
	return datastores.ChooseStrategy(r.ReplicationStrategies(), s.options.ReplicationNamespace, args.Strategy)
}

// replicate is what makes a replica of the server; who runs it adds the Progress.
func replicate(s *served, args datastores.ReplicaArgs) (*datastores.Replicate, error) {
	r, err := replication(s, args.StrategyArgs)
	if err != nil {
		return nil, err
	}
	return &datastores.Replicate{Strategy: r, Request: datastores.AttachRequest{
		SourceID: args.SourceID, Address: args.Address, Account: args.Account, Backup: args.Backup, Former: args.Former,
		Keep: args.Keep, Anew: args.Anew,
	}}, nil
}
