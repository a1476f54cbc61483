package lifecycle

import (
	"encoding/json"
	"slices"
	"time"

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

// Event is something that happened to an instance, or to a set.
type Event struct {
	Type    EventType
	Command string                 // of Done and Failed: which command; one that is not waited for changes nothing
	Error   *agentpoll.Error       // of Failed
	Status  datastores.Status      // of Reported
	Request string                 // id of the request, for the timeline
	By      string                 // who asked; "": nobody did
	Value   json.RawMessage        // of Done: the command's result
	Backup  string                 // of AskBackup and AskBackUpCluster: its id
	Parts   map[string]string      // of AskBackUpCluster: the id of the backup that each of Members makes; Backup is one of them
	Last    bool                   // of AskBackup: the instance is to be deleted when it is complete
	Reason  string                 // of ResetStatus: why, for the fault of what is given up; "": the status was reset
	Target  *etcdschema.Target     // of AskConfigure, AskResize, AskUpgrade and AskModules
	Away    bool                   // of AskConfigure: the guest is not there to be asked
	Discard bool                   // of AskFollow: what the replica has, and its source may lack, may be thrown away
	Source  string                 // of Created: the instance that the new one is to follow; "": it is alone
	Member  string                 // of what is asked of a set: which member leads it
	Members []string               // of AskShrink: which ones go; of AskBackUpCluster: which ones make a part
	Lost    []string               // of AskShrink: those among them that are not asked to leave, since they will not be back
	New     []etcdschema.SetMember // of AskBuild and AskGrow: who comes; their creates begin in the same transaction
	Each    string                 // of AskRoll: the kind of the operation that every member has
	Policy  *etcdschema.Failover   // of AskArrange; nil: none
	Gone    map[string]time.Time   // of AskFailover: members whose guests are away, since when; zero: longer than anybody knows
	// Read reads another member of the set; the zero Instance when there is none. Its error is the decision's. nil: there are no
	// others.
	Read func(id string) (etcdschema.Instance, error)
}

// Asked reports whether somebody asked for the event, and can be told no.
func (e Event) Asked() bool {
	return e.Type == Created || slices.Contains(standard().asks, e.Type) || slices.Contains(standard().setAsks, e.Type) ||
		slices.Contains(standard().clusterAsks, e.Type)
}
