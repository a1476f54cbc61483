package gateway

import (
	"encoding/json"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// replicationArgs makes the arguments of the commands that make, move and end replicas. command.Subject is the instance that it
// is about, command.Agent the one whose guest does it.
func (p *plan) replicationArgs(command lifecycle.Command) (any, error) {
	strategy := datastores.StrategyArgs{Strategy: p.replicationStrategy()}
	switch command.Method {
	case datastores.MethodReplicationSnapshot:
		return p.snapshotArgs(strategy)
	case datastores.MethodEnableAsMaster:
		accounts, err := p.newAccounts(p.record(command.Agent))
		return datastores.PromoteArgs{StrategyArgs: strategy, Accounts: accounts}, err
	case datastores.MethodAttachReplica:
		return p.followArgs(strategy, command.Agent)
	case datastores.MethodCleanupSource:
		return datastores.CleanupArgs{StrategyArgs: strategy, Account: replicaAccount(p.before)}, nil
	case datastores.MethodMakeReadOnly:
		return datastores.ReadOnlyArgs{StrategyArgs: strategy, ReadOnly: command.ReadOnly}, nil
	case datastores.MethodWaitForTxn:
		return datastores.WaitArgs{StrategyArgs: strategy, Position: *p.d.Instance.Operation.Position}, nil
	case datastores.MethodDetachReplica, datastores.MethodLatestTxn:
		return strategy, nil
	}
	return nil, nil
}

// replicationStrategy is the one of the set: every replica has it.
func (p *plan) replicationStrategy() string {
	for _, in := range append([]etcdschema.Instance{p.before}, p.peers...) {
		if in.ReplicationStrategy != "" {
			return in.ReplicationStrategy
		}
	}
	return ""
}

// replicaAccount names the account with which a replica logs in to its source.
func replicaAccount(replica etcdschema.Instance) datastores.ReplicaAccount {
	return datastores.ReplicaAccount{ReplicaID: replica.ID, User: "slave_" + replica.ID[len(replica.ID)-8:], Address: replica.Address}
}

// snapshotArgs ask the source of a new replica for an account and, when its strategy needs one, a backup. What the replica
// must know of it waits, sealed, until it prepares.
func (p *plan) snapshotArgs(strategy datastores.StrategyArgs) (datastores.SnapshotArgs, error) {
	in := &p.d.Instance
	args := datastores.SnapshotArgs{StrategyArgs: strategy, Account: replicaAccount(*in)}
	args.Account.Password = datastores.NewSecret(newPassword()).ForSealing()
	source := p.record(in.ReplicaOf)
	if source == nil {
		return args, notFound("Instance", in.ReplicaOf)
	}
	prepare, err := p.keys.unsealPrepare(*in)
	if err != nil {
		return args, err
	}
	prepare.Replicate = &datastores.ReplicaArgs{StrategyArgs: strategy, SourceID: source.ID, Address: source.Address, Account: args.Account, TLS: sourceTakesTLS(*source)}
	if prepare.Replicate.TLS { // as its source
		prepare.TLS = source.Service.TLS
	}
	if err := p.keys.sealPrepare(in, prepare); err != nil {
		return args, err
	}
	backup := etcdschema.Backup{
		BackupRef: datastores.BackupRef{BackupID: in.Operation.Backup}, Project: in.Project,
		Name: "Replication snapshot for " + in.ID, Instance: source.ID, Datastore: source.Datastore, Version: source.Version,
		VersionNumber: source.VersionNumber, Manager: source.Manager, Container: defaultContainer, Status: etcdschema.BackupNew,
		Created: p.now, Updated: p.now, Snapshot: true,
	}
	key := etcdschema.BackupKey(in.Project, backup.BackupID)
	p.s = etcdschema.With(p.s, key, backup)
	p.put(etcdschema.Put(key, backup))
	args.Backup, err = p.backupArgs(backup.BackupID)
	return args, err
}

// newAccounts makes the accounts of the members that will follow the promoted one. They wait, sealed, until they do.
func (p *plan) newAccounts(promoted *etcdschema.Instance) ([]datastores.ReplicaAccount, error) {
	var accounts []datastores.ReplicaAccount
	for _, id := range promoted.Operation.Members {
		if member := p.record(id); member != nil {
			account := replicaAccount(*member)
			account.Password = datastores.NewSecret(newPassword()).ForSealing()
			accounts = append(accounts, account)
		}
	}
	raw, err := json.Marshal(accounts)
	if err != nil {
		return nil, err
	}
	promoted.Operation.Sealed = p.keys.seal(etcdschema.InstanceKey(promoted.Project, promoted.ID).String(), raw)
	return accounts, nil
}

// followArgs tell a member to follow the one that was promoted.
func (p *plan) followArgs(strategy datastores.StrategyArgs, member string) (datastores.ReplicaArgs, error) {
	args := datastores.ReplicaArgs{
		StrategyArgs: strategy, SourceID: p.before.ID, Address: p.before.Address, Former: member == p.before.ReplicaOf, TLS: sourceTakesTLS(p.before),
	}
	raw, err := p.keys.open(etcdschema.InstanceKey(p.before.Project, p.before.ID).String(), p.before.Operation.Sealed)
	if err != nil {
		return args, err
	}
	var accounts []datastores.ReplicaAccount
	if err := json.Unmarshal(raw, &accounts); err != nil {
		return args, fmt.Errorf("the accounts of the replicas of %s cannot be read", p.before.ID)
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
