package plan

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// replicationArgs makes the arguments of the commands that make, move and end replicas. command.Subject is the instance that it
// is about, command.Agent the one whose guest does it, and in the one whose operation waits for it, or that the event has happened to.
func (p *Plan) replicationArgs(command lifecycle.Command, in *etcdschema.Instance) (any, error) {
	strategy := datastores.StrategyArgs{Strategy: p.replicationStrategy()}
	switch command.Method {
	case datastores.MethodReplicationSnapshot:
		if lifecycle.StepOf(*in) == lifecycle.Admitting {
			return p.admitArgs(in, strategy)
		}
		return p.snapshotArgs(in, strategy)
	case datastores.MethodEnableAsMaster:
		accounts, err := p.newAccounts()
		return datastores.PromoteArgs{StrategyArgs: strategy, Accounts: accounts, Await: p.awaitAtOnce()}, err
	case datastores.MethodAwaitReplicas:
		return datastores.AwaitArgs{StrategyArgs: strategy, Await: p.await(command)}, nil
	case datastores.MethodStand:
		return datastores.StandArgs{StrategyArgs: strategy, Fenced: command.ReadOnly}, nil
	case datastores.MethodAttachReplica:
		if op := in.Operation; command.Agent == in.ID && op != nil && op.Kind == lifecycle.Follow {
			return p.followAgainArgs(in)
		}
		return p.followArgs(strategy, command.Agent)
	case datastores.MethodCleanupSource:
		leaves, err := p.before(command.Subject)
		return datastores.CleanupArgs{StrategyArgs: strategy, Account: replicaAccount(command.Subject, leaves.Address)}, err
	case datastores.MethodMakeReadOnly:
		return datastores.ReadOnlyArgs{StrategyArgs: strategy, ReadOnly: command.ReadOnly}, nil
	case datastores.MethodWaitForTxn:
		return datastores.WaitArgs{StrategyArgs: strategy, Position: *p.d.Set.Operation.Position}, nil
	case datastores.MethodDetachReplica, datastores.MethodLatestTxn:
		return strategy, nil
	}
	return nil, nil
}

// await is for whom a source is to wait: for nobody, when it is told without an operation of its set.
func (p *Plan) await(command lifecycle.Command) (on datastores.Await) {
	op := p.d.Set.Operation
	if command.Set == "" || op == nil {
		return on
	}
	on.Count = op.Acks
	for _, id := range op.Candidates {
		on.Candidates = append(on.Candidates, replicaAccount(id, p.d.Set.Member(id).Address))
	}
	for _, id := range op.Ceased {
		on.Ceased = append(on.Ceased, replicaAccount(id, p.d.Set.Member(id).Address))
	}
	return on
}

// awaitAtOnce is for whom a new source waits from its first commit on, when the policy is strict.
func (p *Plan) awaitAtOnce() (on datastores.Await) {
	policy := p.d.Set.Failover
	if policy == nil || policy.Off || !policy.Strict {
		return on
	}
	for _, m := range p.d.Set.Members {
		if m.ID != p.d.Set.Operation.Lead && m.State == "" {
			on.Candidates = append(on.Candidates, replicaAccount(m.ID, m.Address))
		}
	}
	on.Count = min(policy.Acks, len(on.Candidates))
	return on
}

// replicationStrategy is the one of the set, or of the set that an instance was in.
func (p *Plan) replicationStrategy() string {
	return cmp.Or(p.d.Set.ReplicationStrategy, p.Before.ReplicationStrategy)
}

// replicaAccount names the account with which a replica logs in to its source.
func replicaAccount(id, address string) datastores.ReplicaAccount {
	return datastores.ReplicaAccount{ReplicaID: id, User: "slave_" + id[len(id)-8:], Address: address}
}

// snapshotArgs ask the source of a new replica for an account and, when its strategy needs one, a backup. What the replica
// must know of it waits, sealed, until it prepares.
func (p *Plan) snapshotArgs(in *etcdschema.Instance, strategy datastores.StrategyArgs) (datastores.SnapshotArgs, error) {
	args := datastores.SnapshotArgs{StrategyArgs: strategy, Account: replicaAccount(in.ID, in.Address)}
	args.Account.Password = datastores.NewSecret(replicaPassword()).ForSealing()
	source, err := p.source()
	if err != nil {
		return args, err
	}
	prepare, err := unsealPrepare(p.keys, *in)
	if err != nil {
		return args, err
	}
	prepare.Replicate = &datastores.ReplicaArgs{
		StrategyArgs: strategy, SourceID: source.ID, Address: source.Address, Account: args.Account, TLS: sourceTakesTLS(source),
		Anew: in.Operation.Kind == lifecycle.Follow,
	}
	if prepare.Replicate.TLS { // as its source
		prepare.TLS = source.Service.TLS
	}
	if err := SealPrepare(p.keys, in, prepare); err != nil {
		return args, err
	}
	backup := etcdschema.Backup{
		BackupRef: datastores.BackupRef{BackupID: in.Operation.Backup}, Project: in.Project,
		Name: "Replication snapshot for " + in.ID, Instance: source.ID, Datastore: source.Datastore, Version: source.Version,
		VersionNumber: source.VersionNumber, Manager: source.Manager, Container: DefaultContainer, Status: etcdschema.BackupNew,
		Created: p.now, Updated: p.now, Snapshot: true,
	}
	key := etcdschema.BackupKey(in.Project, backup.BackupID)
	p.Snap = etcdschema.With(p.Snap, key, backup)
	p.Put(etcdschema.Put(key, backup))
	args.Backup, err = p.backupArgs(backup.BackupID)
	return args, err
}

// admitArgs ask the source of a replica for an account alone. What the replica must know of it waits, sealed, until it follows.
func (p *Plan) admitArgs(in *etcdschema.Instance, strategy datastores.StrategyArgs) (datastores.SnapshotArgs, error) {
	args := datastores.SnapshotArgs{StrategyArgs: strategy, Account: replicaAccount(in.ID, in.Address), AccountOnly: true}
	args.Account.Password = datastores.NewSecret(replicaPassword()).ForSealing()
	source, err := p.source()
	if err != nil {
		return args, err
	}
	return args, SealPrepare(p.keys, in, datastores.PrepareArgs{Replicate: &datastores.ReplicaArgs{
		StrategyArgs: strategy, SourceID: source.ID, Address: source.Address, Account: args.Account, TLS: sourceTakesTLS(source),
		Keep: in.Failed != lifecycle.Rejoin, Former: in.Failed == lifecycle.Rejoin,
	}})
}

// followAgainArgs tell a replica to follow the source that has let it in, with the data that it has.
func (p *Plan) followAgainArgs(in *etcdschema.Instance) (datastores.ReplicaArgs, error) {
	waits, err := unsealPrepare(p.keys, *in)
	if err == nil && waits.Replicate == nil {
		err = fmt.Errorf("there is no account for replica %s", in.ID)
	}
	if err != nil {
		return datastores.ReplicaArgs{}, err
	}
	in.Sealed = nil
	return *sealable(waits).Replicate, nil
}

// source is the source of the set.
func (p *Plan) source() (etcdschema.Instance, error) {
	id := p.d.Set.Source()
	in, err := p.look(id)
	if err == nil && in.ID == "" {
		err = fault.NotFound("Instance", id)
	}
	return in, err
}

// before is an instance as it was before the decision.
func (p *Plan) before(id string) (etcdschema.Instance, error) {
	if id == p.Before.ID {
		return p.Before.Instance, nil
	}
	return p.look(id)
}

// newAccounts makes the accounts of the members that will follow the one that is promoted. They wait, sealed, until they do.
func (p *Plan) newAccounts() ([]datastores.ReplicaAccount, error) {
	var accounts []datastores.ReplicaAccount
	op := p.d.Set.Operation
	for _, m := range p.d.Set.Members {
		if m.ID != op.Lead && m.State == "" {
			account := replicaAccount(m.ID, m.Address)
			account.Password = datastores.NewSecret(replicaPassword()).ForSealing()
			accounts = append(accounts, account)
		}
	}
	raw, err := json.Marshal(accounts)
	if err != nil {
		return nil, err
	}
	op.Accounts = p.keys.Seal(etcdschema.SetKey(p.d.Set.Project, p.d.Set.ID).String(), raw)
	return accounts, nil
}

// followArgs tell a member to follow the one that was promoted.
func (p *Plan) followArgs(strategy datastores.StrategyArgs, member string) (datastores.ReplicaArgs, error) {
	source, err := p.source()
	if err != nil {
		return datastores.ReplicaArgs{}, err
	}
	op := p.Before.Set.Operation
	args := datastores.ReplicaArgs{
		StrategyArgs: strategy, SourceID: source.ID, Address: source.Address, Former: member == op.Former, TLS: sourceTakesTLS(source),
	}
	raw, err := p.keys.Open(etcdschema.SetKey(p.d.Set.Project, p.d.Set.ID).String(), op.Accounts)
	if err != nil {
		return args, err
	}
	var accounts []datastores.ReplicaAccount
	if err := json.Unmarshal(raw, &accounts); err != nil {
		return args, fmt.Errorf("the accounts of the replicas of %s cannot be read", source.ID)
	}
	for _, account := range accounts {
		if account.ReplicaID == member {
			args.Account = account
			args.Account.Password = account.Password.ForSealing()
			return args, nil
		}
	}
	return args, fmt.Errorf("there is no account for replica %s", member)
}

// NewPassword makes a password of 36 letters and digits (Trove's default_password_length), about 200 bits.
func NewPassword() string { return (rand.Text() + rand.Text())[:36] }

// sourceTakesTLS reports whether a replica is to follow an instance by TLS. An instance that was made before its version could do TLS has
// rules that let none in, whatever its guest says today.
func sourceTakesTLS(source etcdschema.Instance) bool {
	return source.Service.TLS.On() && slices.Contains(source.Capabilities, datastores.CanTLS)
}

// replicaPassword makes one that a replica shows its source: MySQL takes no longer ones than of 32 characters.
func replicaPassword() string { return NewPassword()[:32] }
