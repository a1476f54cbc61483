package lifecycle

import (
	"encoding/json"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// EventType is what happened.
type EventType string

const (
	Created     EventType = "created"      // a tenant asked for the instance
	Enrolled    EventType = "enrolled"     // its guest has enrolled
	Done        EventType = "done"         // the step's command ended well
	Failed      EventType = "failed"       // the step's command ended with an error
	Overdue     EventType = "overdue"      // the step's deadline has passed
	ResetStatus EventType = "reset_status" // somebody gave up on the operation
	Reported    EventType = "reported"     // the guest told the server's status
)

// EventTypes returns every type of event.
func EventTypes() []EventType {
	return append([]EventType{Created, Enrolled, Done, Failed, Overdue, ResetStatus, Reported}, standard().asks...)
}

// Event is something that happened to an instance.
type Event struct {
	Type    EventType
	Command string             // of Done and Failed: which command; one that is not waited for changes nothing
	Error   *agentpoll.Error   // of Failed
	Status  datastores.Status  // of Reported
	Request string             // id of the request, for the timeline
	Value   json.RawMessage    // of Done: the command's result
	Backup  string             // of AskBackup: its id
	Reason  string             // of ResetStatus: why, for the fault of what is given up; "": the status was reset
	Target  *etcdschema.Target // of AskConfigure, AskResize and AskUpgrade
	Away    bool               // of AskConfigure: the guest is not there to be asked
	// Peers are the other members of the instance's replication set: those that [Members] names.
	Peers []etcdschema.Instance
}

// Asked reports whether somebody asked for the event, and can be told no.
func (e Event) Asked() bool { return e.Type == Created || slices.Contains(standard().asks, e.Type) }

// Members are the other instances that an event of this one may concern: its source and that one's other replicas, its own
// replicas, and those that its operation names. source is its source's record; without one it is zero.
func Members(in, source etcdschema.Instance) []string {
	all := slices.Concat([]string{in.ReplicaOf}, in.Replicas, source.Replicas)
	if in.Operation != nil {
		all = append(all, in.Operation.Members...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(id string) bool { return id == "" || id == in.ID })
}
