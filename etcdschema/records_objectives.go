package etcdschema

import "time"

// Objectives are the bounds that somebody has asked for of what is lost with an instance, and of how long it takes to have it again. They go
// with it.
type Objectives struct {
	Project  string `json:"project"`
	Instance string `json:"instance"`
	// RPO is how old what is kept may be, RTO how long the last restore may have taken, both in seconds; 0: nobody asks.
	RPO int `json:"rpo,omitempty"`
	RTO int `json:"rto,omitempty"`
	// Missed says of each of the two, ObjectiveRPO and ObjectiveRTO, why it was missed when that was found; one that is met is not in it.
	Missed map[string]string `json:"missed,omitempty"`
	// Due is the time of its key in the due index, see [Instance.Due].
	Due time.Time `json:"due,omitzero"`
}

// The two objectives.
const (
	ObjectiveRPO = "rpo"
	ObjectiveRTO = "rto"
)

// Missed is the record at a key of the index of objectives that are missed. The key says everything.
type Missed struct{}

// Restored is that a backup was restored.
type Restored struct {
	At       time.Time `json:"at"`
	Instance string    `json:"instance"` // that was made of it
	Seconds  float64   `json:"seconds"`  // from the wish until its server was ready
}
