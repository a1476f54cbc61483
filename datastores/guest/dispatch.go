package guest

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

// method runs one command and returns its result's value.
type method func(context.Context, agent.Command) (json.RawMessage, error)

// none is the arguments or the result of a method that has none.
type none struct{}

// methods is the one table from a method's name to what it does.
func (g *Guest) methods() map[string]method {
	return map[string]method{
		datastores.MethodPrepare: plain(g.prepare),
		datastores.MethodStart:   plain(g.start),
		datastores.MethodStop:    plain(g.stop),
		datastores.MethodRestart: plain(g.restart),
		datastores.MethodPing:    plain(g.ping),

		datastores.MethodCreateDatabase: tenant(g, createDatabases),
		datastores.MethodListDatabases:  tenant(g, listDatabases),
		datastores.MethodDeleteDatabase: tenant(g, deleteDatabase),

		datastores.MethodCreateUser:       tenant(g, createUsers),
		datastores.MethodListUsers:        tenant(g, listUsers),
		datastores.MethodGetUser:          tenant(g, getUser),
		datastores.MethodDeleteUser:       tenant(g, deleteUser),
		datastores.MethodChangePasswords:  tenant(g, changePasswords),
		datastores.MethodUpdateAttributes: tenant(g, updateUser),

		datastores.MethodListAccess:   tenant(g, listAccess),
		datastores.MethodGrantAccess:  tenant(g, grantAccess),
		datastores.MethodRevokeAccess: tenant(g, revokeAccess),

		datastores.MethodEnableRoot:  tenant(g, enableRoot),
		datastores.MethodDisableRoot: tenant(g, disableRoot),

		datastores.MethodGetConfiguration: prepared(g, getConfiguration),
		datastores.MethodUpdateOverrides:  prepared(g, g.updateOverrides),

		datastores.MethodCreateBackup: plain(g.createBackup),

		datastores.MethodReplicationSnapshot: plain(g.snapshot),
		datastores.MethodAttachReplica:       plain(g.attach),
		datastores.MethodDetachReplica:       plain(g.detach),
		datastores.MethodCleanupSource:       plain(g.cleanupSource),
		datastores.MethodMakeReadOnly:        plain(g.makeReadOnly),
		datastores.MethodLatestTxn:           plain(g.latestTxn),
		datastores.MethodWaitForTxn:          plain(g.waitForTxn),
		datastores.MethodEnableAsMaster:      plain(g.promote),
		datastores.MethodAwaitReplicas:       plain(g.awaitReplicas),
		datastores.MethodStand:               plain(g.stand),

		datastores.MethodClusterJoin:   plain(g.clustered(datastores.Cluster.JoinCluster)),
		datastores.MethodClusterSettle: plain(g.clustered(datastores.Cluster.SettleCluster)),
		datastores.MethodClusterLeave:  plain(g.clustered(datastores.Cluster.LeaveCluster)),

		datastores.MethodLogList:   prepared(g, g.logList),
		datastores.MethodLogAction: plain(g.logAction),

		datastores.MethodShipLog:  plain(g.shipLog),
		datastores.MethodFlushLog: plain(g.flushLog),

		datastores.MethodCheckData: tenant(g, checkData),

		datastores.MethodModules: tenant(g, g.changeModules),

		datastores.MethodUpgrade:      plain(g.upgrade),
		datastores.MethodCheckUpgrade: plain(g.inspect),

		datastores.MethodSSLShow:     prepared(g, g.sslShow),
		datastores.MethodSSLAction:   plain(g.sslAction),
		datastores.MethodSSLRollback: plain(g.sslRollback),
	}
}

// call is what a tenant's method must know of the command beside its arguments.
type call struct {
	reserved
	manager  datastores.Manager
	repeated bool // an earlier run may have been cut half way
}

// forgive turns an error of that kind into success when the command is repeated: the earlier run has done it.
func (c call) forgive(err error, kind datastores.ErrorKind) error {
	if c.repeated && isKind(err, kind) {
		return nil
	}
	return err
}

// plain makes a method of one that sees to the server's turn itself.
func plain[A, R any](run func(context.Context, agent.Command, A) (R, error)) method {
	return func(ctx context.Context, cmd agent.Command) (json.RawMessage, error) {
		args, err := decode[A](cmd)
		if err != nil {
			return nil, err
		}
		return encode(run(ctx, cmd, args))
	}
}

// tenant makes a method of a call of capability C on a prepared, running server, one at a time.
func tenant[C, A, R any](g *Guest, run func(context.Context, call, C, A) (R, error)) method {
	return capable(g, g.usable, run)
}

// prepared makes a method of a call of capability C on a prepared server, whether it runs or not, one at a time.
func prepared[C, A, R any](g *Guest, run func(context.Context, call, C, A) (R, error)) method {
	return capable(g, g.prepared, run)
}

func capable[C, A, R any](g *Guest, ready func() error, run func(context.Context, call, C, A) (R, error)) method {
	return func(ctx context.Context, cmd agent.Command) (json.RawMessage, error) {
		args, err := decode[A](cmd)
		if err != nil {
			return nil, err
		}
		return encode(inTurn(ctx, g, ready, func(s *served) (reply R, err error) {
			able, ok := s.manager.(C)
			if !ok {
				return reply, datastores.Errorf(datastores.Unsupported, "this datastore cannot do %s", cmd.Method)
			}
			return run(ctx, call{s.reserved, s.manager, cmd.Repeated}, able, args)
		}))
	}
}

// inTurn calls do with the server when it is the caller's turn. If the server is not ready, inTurn fails at once instead of
// queueing.
func inTurn[R any](ctx context.Context, g *Guest, ready func() error, do func(*served) (R, error)) (reply R, err error) {
	if err := ready(); err != nil {
		return reply, err
	}
	release, err := g.take(ctx)
	if err != nil {
		return reply, err
	}
	defer release()
	if err := ready(); err != nil {
		return reply, err
	}
	return do(g.served.Load())
}

func decode[A any](cmd agent.Command) (A, error) {
	var args A
	if len(cmd.Args) == 0 {
		return args, nil
	}
	if err := json.Unmarshal(cmd.Args, &args); err != nil {
		// The text of the error may quote the arguments, which may be secret.
		return args, datastores.Errorf(datastores.Invalid, "the arguments of %s are not what it takes", cmd.Method)
	}
	return args, nil
}

func encode[R any](value R, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	if _, nothing := any(value).(none); nothing {
		return nil, nil
	}
	return json.Marshal(value)
}

func isKind(err error, kind datastores.ErrorKind) bool {
	var e *datastores.Error
	return errors.As(err, &e) && e.Kind == kind
}
