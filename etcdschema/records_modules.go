package etcdschema

import "time"

// Module is a bundle of configuration that instances can have beside what their datastore version says. What is in it stands in
// [ModuleContents].
type Module struct {
	ID          string `json:"id"`
	Project     string `json:"project"` // in which it was made, whose quota it counts for
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Type        string `json:"type"`                // the driver that applies it
	Datastore   string `json:"datastore,omitempty"` // "": any
	Version     string `json:"version,omitempty"`   // "": any of the datastore
	MD5         string `json:"md5"`                 // of what is in it, in hexadecimal digits

	Shared        bool `json:"shared,omitempty"`         // every project may apply it
	AutoApply     bool `json:"auto_apply,omitempty"`     // new instances get it
	Hidden        bool `json:"hidden,omitempty"`         // from all but admins
	LiveUpdate    bool `json:"live_update,omitempty"`    // it may be changed while instances have it
	PriorityApply bool `json:"priority_apply,omitempty"` // before all that have not
	Admin         bool `json:"admin,omitempty"`          // only admins may change it
	Order         int  `json:"order"`                    // of being applied, the lowest first: 0 to 9

	Instances int       `json:"instances,omitempty"` // how many have it, or are about to
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`

	// Reapply is under way: it is applied again to instances that have it, some at a time. nil: it is not.
	Reapply *Reapply `json:"reapply,omitempty"`
}

// Reapply is how a module is applied again to the instances that have it, and how far that has come.
type Reapply struct {
	MD5   string `json:"md5,omitempty"`   // to those that have this; "": to all
	Force bool   `json:"force,omitempty"` // also to those that have what is in it now
	// Clustered: also to members of clusters.
	Clustered bool   `json:"clustered,omitempty"`
	Batch     int    `json:"batch"`           // how many at a time
	Delay     int    `json:"delay"`           // seconds between two batches
	After     string `json:"after,omitempty"` // the name of the instance in the list that was looked at last; "": none was
	By        string `json:"by,omitempty"`    // who asked
	// Due is the time of its key in the due index, see [Instance.Due].
	Due time.Time `json:"due"`
}

// Key is the module's place.
func (m Module) Key() Key[Module] {
	if m.Shared {
		return SharedModuleKey(m.ID)
	}
	return ModuleKey(m.Project, m.ID)
}

// ModuleContents is what is in a module, sealed with the gateways' key.
type ModuleContents struct {
	Sealed []byte `json:"sealed"`
}

// ModuleTurn is changed by whatever makes a module or changes what another may not have, too.
type ModuleTurn struct {
	Module string `json:"module"` // the last
	Turn   string `json:"turn"`   // unlike any before
}

// AppliedModule is a module that an instance has.
type AppliedModule struct {
	ID      string    `json:"id"`
	Type    string    `json:"type"`
	MD5     string    `json:"md5"` // of what was in it when it was applied
	Status  string    `json:"status"`
	Message string    `json:"message,omitempty"` // for a person
	Created time.Time `json:"created"`           // when it was applied first
	Updated time.Time `json:"updated"`
}

// ModuleChange are modules that an instance gets, also those that it has and gets anew, and others that it loses.
type ModuleChange struct {
	Apply  []AppliedModule `json:"apply,omitempty"` // of which ID, Type and MD5 count
	Remove []string        `json:"remove,omitempty"`
}
