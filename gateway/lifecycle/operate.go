package lifecycle

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

func (d *decision) restarted() error {
	d.Instance.RestartRequired = false
	d.runs()
	d.finish("the database server was restarted")
	d.answered()
	return nil
}

// answered reads a guest's answer to a start.
func (d *decision) answered() {
	var reply datastores.StartReply
	if len(d.event.Value) > 0 && json.Unmarshal(d.event.Value, &reply) == nil {
		d.refused(reply.Refused)
	}
}

// refused takes the guest's word that the server runs without the parameters that were set. Every restart tries them again.
func (d *decision) refused(why string) {
	d.Instance.Service.Refused = why
	if why == "" {
		return
	}
	d.Instance.RestartRequired = true
	if f := d.Instance.Fault; f == nil || f.Message != why {
		d.fault(why)
	}
}

// runs takes it that the server has just been started.
func (d *decision) runs() {
	d.Instance.Service = d.server(datastores.StatusHealthy)
	d.Instance.Service.Since = d.now
}

// server is the status of a server of which the gateway knows this. What its guest alone knows stays until it tells otherwise.
func (d *decision) server(is datastores.ServiceStatus) datastores.Status {
	had := d.Instance.Service
	return datastores.Status{Service: is, Volume: had.Volume, TLS: had.TLS, Replication: had.Replication}
}

// configure gives the server the parameters of the target's configuration group, or none. A server that is not well may be so
// because of its parameters, and may not even have a guest to ask: it gets them with its next restart.
func (d *decision) configure() error {
	if err := Free(d.self()); err != nil {
		return err
	}
	if d.event.Away || Ready(d.self()) != nil {
		d.Instance.Configuration, d.Instance.RestartRequired, d.Changed = *d.event.Target.Configuration, true, true
		d.tell("note", "the parameters are kept for the next restart")
		return nil
	}
	d.begin(Configure)
	d.operation().Target = d.event.Target
	d.enter(Configuring, "asked the guest to change parameters")
	return nil
}

func (d *decision) configured() error {
	var reply datastores.OverridesReply
	if err := json.Unmarshal(d.event.Value, &reply); err != nil {
		return d.notConfigured()
	}
	d.Instance.Configuration = *d.Instance.Operation.Target.Configuration
	d.Instance.RestartRequired = reply.RestartRequired
	message := "the parameters are in force"
	if reply.RestartRequired {
		message = "the parameters are stored; some of them take a restart"
	}
	d.finish(message)
	return nil
}

// notConfigured leaves the instance as it was. A restart carries the values of the group that is attached, so it brings what
// this could not.
func (d *decision) notConfigured() error {
	reason := d.reason()
	if *d.Instance.Operation.Target.Configuration == d.Instance.Configuration {
		d.Instance.RestartRequired = true
	}
	d.giveUp(reason)
	d.fault(reason + " (the parameters could not be changed)")
	return nil
}

func (d *decision) backup() error {
	if err := Ready(d.self()); err != nil {
		return err
	}
	d.begin(Backup)
	op, message := d.operation(), "asked the guest for backup "+d.event.Backup
	op.Backup, op.Last = d.event.Backup, d.event.Last
	if op.Last {
		message += ", after which the instance will be deleted"
	}
	d.enter(BackingUp, message)
	return nil
}

func (d *decision) backedUp() error {
	id, last := d.Instance.Operation.Backup, d.Instance.Operation.Last
	var made datastores.BackupResult
	if err := json.Unmarshal(d.event.Value, &made); err != nil || made.BackupID != id {
		return d.notBackedUp()
	}
	d.Backup = &BackupEnd{ID: id, Result: &made}
	d.finish(fmt.Sprintf("backup %s is complete: %d bytes in %d segments", id, made.Stored, made.Segments))
	if !last {
		return nil
	}
	if err := MayDelete(d.self()); err != nil {
		d.fault(err.Error() + " Its last backup is made.")
		return nil
	}
	return d.remove()
}

// notBackedUp fails the backup, not the instance. An instance that was to be deleted after it stays, and says why.
func (d *decision) notBackedUp() error {
	reason, last := d.reason(), d.Instance.Operation.Last
	id := d.Instance.Operation.Backup
	d.giveUp(reason)
	message := reason + " (backup " + id + " failed)"
	if last {
		d.fault(message + "; so the instance was not deleted")
		return nil
	}
	d.tell("fault", message)
	return nil
}

// changeModules notes what the instance is about to have: a module counts as applied from now on, until it is gone for sure.
func (d *decision) changeModules() error {
	if d.self().Clustered() && d.Set.Operation != nil { // which may be about to ask the member for something
		return d.clusterBusy()
	}
	if err := Ready(d.self()); err != nil {
		return err
	}
	change := d.event.Target.Modules
	d.begin(Modules)
	d.operation().Target = d.event.Target
	all := slices.Clone(d.Instance.Modules)
	for i, m := range all {
		if slices.Contains(change.Remove, m.ID) {
			all[i].Status, all[i].Message = datastores.ModuleRemoving, ""
		}
	}
	for _, m := range change.Apply {
		m.Status, m.Message, m.Created, m.Updated = datastores.ModuleApplying, "", d.now, d.now
		if i := slices.IndexFunc(all, func(has etcdschema.AppliedModule) bool { return has.ID == m.ID }); i >= 0 {
			m.Created, all[i] = all[i].Created, m
		} else {
			all = append(all, m)
		}
	}
	d.Instance.Modules = all
	d.enter(Bundling, fmt.Sprintf("asked the guest to apply %d modules and to remove %d", len(change.Apply), len(change.Remove)))
	return nil
}

func (d *decision) modulesChanged() error {
	var reply datastores.ModulesReply
	if err := json.Unmarshal(d.event.Value, &reply); err != nil {
		return d.modulesNotChanged()
	}
	d.Instance.RestartRequired = d.Instance.RestartRequired || reply.RestartRequired
	if failed := d.settleModules(reply.Modules, "the guest has not told of it"); failed > 0 {
		d.finish(fmt.Sprintf("%d modules could not be applied or removed; they say why", failed))
		return nil
	}
	d.finish("the modules are applied and removed")
	return nil
}

// modulesNotChanged fails the modules, not the instance.
func (d *decision) modulesNotChanged() error {
	reason := d.reason()
	d.giveUp(reason)
	d.tell("fault", reason+" (the modules could not be changed)")
	return nil
}

// settleModules puts down what has become of the modules that something was being done with, and counts those that failed. Of one that the
// states do not tell of, it is unknown why.
func (d *decision) settleModules(states []datastores.ModuleState, unknown string) (failed int) {
	var all []etcdschema.AppliedModule
	for _, m := range d.Instance.Modules {
		is := datastores.ModuleState{Status: datastores.ModuleError, Message: unknown}
		if i := slices.IndexFunc(states, func(s datastores.ModuleState) bool { return s.ID == m.ID }); i >= 0 {
			is = states[i]
		}
		switch {
		case m.Status == datastores.ModuleRemoving && is.Removed:
			continue
		case m.Status == datastores.ModuleApplying, m.Status == datastores.ModuleRemoving:
			if is.Status != datastores.ModuleOK || m.Status == datastores.ModuleRemoving {
				is.Status = datastores.ModuleError
				failed++
			}
			m.Status, m.Message, m.Updated = is.Status, cut(is.Message, maxFault), d.now
			if is.MD5 != "" {
				m.MD5, m.Type = is.MD5, is.Type
			}
		}
		all = append(all, m)
	}
	d.Instance.Modules, d.Changed = all, true
	return failed
}

func (d *decision) become(t *etcdschema.Target) { d.Instance = Become(d.Instance, *t) }

// Become is the instance as it is when it has reached a target of size or version.
func Become(in etcdschema.Instance, t etcdschema.Target) etcdschema.Instance {
	if t.Flavor != nil {
		in.FlavorID, in.Flavor = t.FlavorID, *t.Flavor
	}
	if t.VolumeGB > 0 {
		in.VolumeGB = t.VolumeGB
	}
	if v := t.Version; v != nil {
		in.Version, in.VersionNumber, in.Capabilities, in.Names = v.Version, v.VersionNumber, v.Capabilities, v.Names
		in.Image = v.Image
		if v.Ports != nil {
			in.Firewall = in.Firewall.At(*v.Ports)
		}
	}
	return in
}

// Groups are the configuration groups that an instance refers to: the one that it has, and the one that it is about to have.
func Groups(in etcdschema.Instance) []string {
	ids := []string{in.Configuration}
	if op := in.Operation; op != nil && op.Target != nil && op.Target.Configuration != nil {
		ids = append(ids, *op.Target.Configuration)
	}
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == "" })
}

// Outdate returns the instance after a group's values have changed that its guest could not be told. It reports whether the
// record has to be written. A restart brings the values, but for one that is under way: that may have been given the old ones.
// So does a create once its guest was asked.
func Outdate(in etcdschema.Instance, group string) (etcdschema.Instance, bool) {
	if !slices.Contains(Groups(in), group) || slices.Contains([]Step{Launching, Enrolling, Snapshotting}, StepOf(in)) {
		return in, false
	}
	if in.Operation == nil {
		in.RestartRequired = true
		return in, true
	}
	op := *in.Operation
	op.Outdated = true
	in.Operation = &op
	return in, true
}

// outdated keeps in mind, at the end of an operation, that the values have changed while it went on.
func (d *decision) outdated() {
	if d.Instance.Operation.Outdated && d.Instance.Configuration != "" {
		d.Instance.RestartRequired = true
	}
}
