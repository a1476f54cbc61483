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
