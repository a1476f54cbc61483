package plan

import (
	"encoding/json"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// PutDrills writes an instance's drills, which are due at a time, zero for never.
func PutDrills(d etcdschema.Drills, at, now time.Time) (ops []etcdschema.Op) {
	d.Due, ops = MoveDue(DueDrill, d.Project, d.Instance, d.Due, at, now)
	return append(ops, etcdschema.Put(etcdschema.DrillsKey(d.Project, d.Instance), d))
}

// wakeDrills has the drills of an instance that is gone be looked at: what they have made has to go, too.
func wakeDrills(s etcdschema.Snapshot, project, instance string, now time.Time) ([]etcdschema.Op, error) {
	return wake(s, etcdschema.DrillsKey(project, instance), PutDrills, now)
}

// SealQuestion keeps a question in the record of a place, a schedule's or of drills. nil: there is none.
func SealQuestion(keys *keyring.Keyring, place string, q datastores.Question) ([]byte, error) {
	if q.IsZero() {
		return nil, nil
	}
	raw, err := json.Marshal(q.ForSealing())
	if err != nil {
		return nil, err
	}
	return keys.Seal(place, raw), nil
}

// OpenQuestion reads what [SealQuestion] has made for the place.
func OpenQuestion(keys *keyring.Keyring, place string, sealed []byte) (q datastores.Question, err error) {
	if len(sealed) == 0 {
		return q, nil
	}
	raw, err := keys.Open(place, sealed)
	if err == nil {
		err = json.Unmarshal(raw, &q)
	}
	return q, err
}

// AskToCheck asks the guest of a drill's probe to look at what it holds. It returns the command's id.
func AskToCheck(s etcdschema.Snapshot, signer Signer, probe etcdschema.Instance, q datastores.Question, now time.Time) (string, etcdschema.Op, error) {
	method, _ := datastores.LookupMethod(datastores.MethodCheckData)
	cmd := etcdschema.Command{
		Command: agentpoll.Command{ID: NewID(), Method: method.Name, Deadline: now.Add(method.Timeout)},
		Project: probe.Project, Instance: probe.ID, Enqueued: now,
	}
	err := FillArgs(s, &cmd, probe.ID, datastores.CheckArgs{Question: q.ForSealing()}, method.Secret)
	return cmd.ID, signer.Command(probe.ID, cmd), err
}

// NoDrill refuses what cannot be done with an instance that is a drill of another one.
func NoDrill(in etcdschema.Instance) error {
	if in.DrillOf == "" {
		return nil
	}
	return fault.Errorf(fault.Unprocessable, "Instance %s is the drill of instance %s: it is looked at and removed. Nothing else can be done with it; delete it to end the drill at once.", in.ID, in.DrillOf)
}
