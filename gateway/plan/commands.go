package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/keyring"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// commands enqueues what the decision sends. What has happened has happened, whatever becomes of the step that it led to: a
// command that cannot be made is a failure of that step. A tenant's wish is refused instead.
func (p *Plan) commands() error {
	for i := 0; i < len(p.d.Commands); i++ { // a failure may add some
		command, s, ops := p.d.Commands[i], p.Snap, len(p.ops)
		err := p.enqueue(command)
		if err == nil {
			continue
		}
		if etcdschema.Unread(err) || p.Event.Asked() {
			return err
		}
		p.Snap, p.ops = s, p.ops[:ops]
		if err := p.cannotSend(command, err); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plan) enqueue(command lifecycle.Command) error {
	args, err := p.args(command)
	if err != nil {
		return err
	}
	cmd := etcdschema.Command{
		Command: agentpoll.Command{ID: command.ID, Method: command.Method, Deadline: command.Deadline},
		Project: p.project(), Instance: cmp.Or(command.Waiter, command.Subject), Set: command.Set, Enqueued: p.now,
		Step: command.Waiter != "" || command.Set != "",
	}
	if cmd.User, cmd.Request, err = p.asker(command); err != nil {
		return err
	}
	if err := FillArgs(p.Snap, &cmd, command.Agent, args, secret(command.Method)); err != nil {
		return err
	}
	p.Put(p.signer.Command(command.Agent, cmd))
	return nil
}

// asker is who asked for what a command is a step of, and with which request.
func (p *Plan) asker(command lifecycle.Command) (user, request string, err error) {
	if op := p.d.Set.Operation; command.Set != "" && op != nil {
		return op.By, op.Request, nil
	}
	if command.Waiter != "" {
		in, err := p.touch(command.Waiter)
		if err != nil {
			return "", "", err
		}
		if op := in.Operation; op != nil {
			return op.By, op.Request, nil
		}
	}
	return p.Event.By, p.Event.Request, nil
}

// cannotSend lets the step fail that waits for a command, at once and with the reason.
func (p *Plan) cannotSend(command lifecycle.Command, reason error) (err error) {
	p.unsent = append(p.unsent, command.ID)
	failed := lifecycle.Event{
		Type: lifecycle.Failed, Command: command.ID, Request: p.Event.Request, Read: p.look,
		Error: agentpoll.Errorf(agentpoll.Internal, "%s", fault.Of(reason, command.ID).Message),
	}
	if command.Waiter == "" && command.Set == "" {
		e := etcdschema.Event{At: p.now, Kind: "fault", Message: fmt.Sprintf("%s could not be asked for: %s", command.Method, failed.Error.Message)}
		p.d.Events = append(p.d.Events, lifecycle.Line{Instance: command.Subject, Event: e})
		return nil
	}
	p.d, err = p.d.Then(command, failed, p.now, NewID)
	return err
}

// secret reports whether the arguments of a method are sealed to the agent.
func secret(method string) bool {
	m, _ := datastores.LookupMethod(method)
	return m.Secret || method == deployments.MethodLaunch
}

// args makes a command's arguments; nil: the method takes none.
func (p *Plan) args(command lifecycle.Command) (any, error) {
	in := &p.d.Instance
	if command.Waiter != "" { // which a set may have begin something
		var err error
		if in, err = p.touch(command.Waiter); err != nil {
			return nil, err
		}
	}
	switch command.Method {
	case deployments.MethodLaunch:
		return p.launchArgs(*in)
	case deployments.MethodRemove:
		return deployments.RemoveArgs{InstanceID: in.ID}, nil
	case deployments.MethodResize:
		return resizeArgs(*in), nil
	case datastores.MethodPrepare:
		return p.prepareArgs(in)
	case datastores.MethodRestart:
		return p.restartArgs(*in)
	case datastores.MethodClusterJoin, datastores.MethodClusterSettle, datastores.MethodClusterLeave:
		view, err := p.clusterView(command.Agent)
		return datastores.ClusterArgs{Cluster: view}, err
	case datastores.MethodUpdateOverrides:
		values, err := p.overrides(*in.Operation.Target.Configuration)
		return datastores.OverridesArgs{Values: values}, err
	case datastores.MethodModules:
		return p.modulesArgs(*in)
	case datastores.MethodUpgrade:
		return datastores.UpgradeArgs{Options: in.Operation.Target.Version.Guest}, nil
	case datastores.MethodCheckUpgrade:
		return datastores.UpgradeArgs{Options: p.d.Set.Operation.Target.Version.Guest}, nil
	case datastores.MethodCreateBackup:
		return p.backupArgs(in.Operation.Backup)
	}
	return p.replicationArgs(command, in)
}

// FillArgs puts arguments into a command, sealed to the agent when they hold a secret.
func FillArgs(s etcdschema.Snapshot, cmd *etcdschema.Command, agentID string, args any, secret bool) error {
	if args == nil {
		return nil
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	if !secret {
		cmd.Args = raw
		return nil
	}
	agent, err := etcdschema.Read(s, etcdschema.AgentKey(agentID))
	if err != nil {
		return err
	}
	if !agent.Found {
		return fault.Errorf(fault.Unavailable, "The agent %s has not enrolled.", agentID)
	}
	cmd.Sealed, err = agentpoll.Seal(agent.Value.PublicKey, cmd.ID, raw)
	return err
}

// launchArgs asks for a new guest, with a token to enrol, or for what another version needs.
func (p *Plan) launchArgs(in etcdschema.Instance) (deployments.LaunchArgs, error) {
	begun, migration := in.Created, time.Time{}
	switch in.Operation.Kind {
	case lifecycle.Create:
	case lifecycle.Migrate:
		begun, migration = p.now, in.Operation.Started
	default:
		return launchArgs(p.Snap, in, "")
	}
	token := p.signer.NewToken()
	wait := begun.Add(lifecycle.UsageTimeout(in)).Sub(p.now)
	p.Put(EnrolmentOp(token, etcdschema.Enrolment{Kind: agentpoll.Guest, AgentID: in.ID, Project: in.Project, Created: p.now, Migration: migration}, wait))
	return launchArgs(p.Snap, in, token.String())
}

// launchArgs describe an instance to its host. Without a token the guest that is there keeps its own.
func launchArgs(s etcdschema.Snapshot, in etcdschema.Instance, token string) (deployments.LaunchArgs, error) {
	options, err := etcdschema.Read(s, etcdschema.InstanceGuestKey(in.ID))
	if err != nil {
		return deployments.LaunchArgs{}, err
	}
	guest, image := options.Value, in.Image
	if op := in.Operation; op != nil && lifecycle.Step(op.Step) == lifecycle.Equipping {
		guest, image = op.Target.Version.Guest, op.Target.Version.Image
	}
	common, err := datastores.CommonOptions(guest)
	return deployments.LaunchArgs{
		InstanceID: in.ID, Manager: in.Manager, Token: token, Address: in.Address, MountPoint: common.MountPoint, Image: image, Packages: common.Packages,
		VolumeGB: in.VolumeGB, MemoryMB: in.Flavor.RAM, VCPUs: in.Flavor.VCPUs, Firewall: wall(in),
	}, err
}

func resizeArgs(in etcdschema.Instance) deployments.ResizeArgs {
	args := deployments.ResizeArgs{
		InstanceID: in.ID, VolumeGB: in.Operation.Target.VolumeGB, Stopped: in.Service.Service == datastores.StatusShutdown,
	}
	if f := in.Operation.Target.Flavor; f != nil {
		args.MemoryMB, args.VCPUs = f.RAM, f.VCPUs
	}
	return args
}

// prepareArgs takes out what has waited for the guest, and adds what the server begins with.
func (p *Plan) prepareArgs(in *etcdschema.Instance) (datastores.PrepareArgs, error) {
	args, err := unsealPrepare(p.keys, *in)
	if err != nil {
		return args, err
	}
	in.Sealed = nil
	if in.Operation.Kind == lifecycle.Migrate { // as before
		args.TLS = in.Service.TLS
	}
	if args.Overrides, err = p.overrides(in.Configuration); err != nil {
		return args, err
	}
	if args.Modules, err = p.modulesOf(*in); err != nil {
		return args, err
	}
	if len(in.Restore) > 0 {
		if args.Restore, err = p.restoreArgs(*in); err != nil {
			return args, err
		}
	}
	if p.d.Set.Kind == etcdschema.SetCluster {
		view, err := p.clusterView(in.ID)
		if err != nil {
			return args, err
		}
		args.Cluster = &view
	}
	if args.Replicate != nil && args.Restore != nil {
		args.Replicate.Backup = args.Restore.Chain[len(args.Restore.Chain)-1].Meta
	}
	return sealable(args), nil
}

// restartArgs carry the parameters that the instance should have: an attempt to change them may have failed, or they were
// taken away while the server could not be told.
func (p *Plan) restartArgs(in etcdschema.Instance) (any, error) {
	if in.Configuration == "" && (!in.RestartRequired || !slices.Contains(in.Capabilities, datastores.CanConfiguration)) {
		return nil, nil
	}
	values, err := p.overrides(in.Configuration)
	return datastores.RestartArgs{Overrides: &values}, err
}

// overrides are the values of a configuration group; none for "".
func (p *Plan) overrides(configuration string) (datastores.Values, error) {
	if configuration == "" {
		return datastores.Values{}, nil
	}
	rec, err := etcdschema.Read(p.Snap, etcdschema.ConfigurationKey(p.project(), configuration))
	group, err := fault.Found(rec, err, "Configuration", configuration)
	if group.Values == nil {
		group.Values = datastores.Values{}
	}
	return group.Values, err
}

// unsealPrepare reads what has waited for the guest.
func unsealPrepare(k *keyring.Keyring, in etcdschema.Instance) (datastores.PrepareArgs, error) {
	var args datastores.PrepareArgs
	if len(in.Sealed) == 0 {
		return args, nil
	}
	raw, err := k.Open(etcdschema.InstanceKey(in.Project, in.ID).String(), in.Sealed)
	if err != nil {
		return args, err
	}
	if err := json.Unmarshal(raw, &args); err != nil {
		return args, fmt.Errorf("what waits for the guest of %s cannot be read", in.ID)
	}
	return args, nil
}

// SealPrepare keeps what has to wait for the guest.
func SealPrepare(k *keyring.Keyring, in *etcdschema.Instance, args datastores.PrepareArgs) error {
	raw, err := json.Marshal(sealable(args))
	if err != nil {
		return err
	}
	in.Sealed = k.Seal(etcdschema.InstanceKey(in.Project, in.ID).String(), raw)
	return nil
}

// sealable marks an instance's secrets for being marshalled: only for what is sealed at once.
func sealable(args datastores.PrepareArgs) datastores.PrepareArgs {
	args.RootPassword = args.RootPassword.ForSealing()
	for i := range args.Users {
		args.Users[i].Password = args.Users[i].Password.ForSealing()
	}
	if args.Restore != nil {
		args.Restore.Key = args.Restore.Key.ForSealing()
		for i := range args.Restore.OwnKeys {
			args.Restore.OwnKeys[i] = args.Restore.OwnKeys[i].ForSealing()
		}
		if args.Restore.Log != nil {
			args.Restore.Log.Key = args.Restore.Log.Key.ForSealing()
		}
	}
	if args.Replicate != nil {
		args.Replicate.Account.Password = args.Replicate.Account.Password.ForSealing()
	}
	return args
}
