package etcdschema

import "time"

// What is taken over of an earlier release, once.
const (
	TakenDueInstances = "due-instances" // every instance that has a time has its due key
	TakenDueBackups   = "due-backups"   // every backup that is being removed has its due key
	TakenSets         = "sets"          // what sources and replicas say of each other is in the record of a set
	TakenSealingKeys  = "sealing-keys"  // every key that something is sealed with has its [SealingKey]
)

// TakenOver says of one of them that it is done: no gateway reads every record again to find out.
type TakenOver struct {
	Complete time.Time `json:"complete"` // since when
}

// TakenOverKey is the place of what is said of one of them.
func TakenOverKey(what string) Key[TakenOver] {
	return key[TakenOver](takenOverPattern, aName("what", what))
}

// SealingKey says that something may be sealed with a key of the gateways' key file.
type SealingKey struct {
	Since time.Time `json:"since"`
}

// SealingKeyKey is the place of what is said of a key of the key file, by its id there.
func SealingKeyKey(id string) Key[SealingKey] {
	return key[SealingKey](sealingKeyPattern, aName("id", id))
}

// SealingKeys is all of them. Their names are the ids.
func SealingKeys() Prefix[SealingKey] { return Prefix[SealingKey]{path: "/server/sealing-keys/"} }
