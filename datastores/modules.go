package datastores

import (
	"context"
	"encoding/base64"
	"slices"
)

// Modules is implemented by a manager that takes modules: bundles of configuration that are brought to a server beside its parameters,
// such as the key of a licence. Package modules has drivers that every manager may offer.
type Modules interface {
	// ModuleDrivers returns what applies modules, one for each type of them.
	ModuleDrivers() []ModuleDriver
}

// ModuleDriver applies modules of one type. What it does stays inside the instance's own root, and runs nothing that is in a module
// but through the server. It is called as the methods of [Manager] are, of a server that runs. A driver has Apply and Remove, or
// Parameters.
type ModuleDriver struct {
	Type string // such as key_file; its names are those of [StrategyName]
	// Parameters reads what a module sets, of a manager that implements [Configuration]. The guest runtime checks it as it checks what a
	// tenant sets, and sets it below that: what a configuration group sets, too, is the group's. Invalid: nothing can be read, and as in Apply.
	Parameters func(m AppliedModule) (Values, error)
	// Once: what Apply does cannot be undone and is not to be done twice. The guest runtime does not ask for it again while the module has the same
	// in it, nor when the command comes again that was cut while Apply was at work. Remove has nothing to do then. Of a member of a cluster it asks for
	// none: others have the same data.
	Once bool
	// Apply brings a module to the server, also one that it has with something else in it: nothing of that stays. Invalid: what is in
	// it is not what the type takes, and nothing was changed. message is for a person, and like an error tells nothing of what
	// is in the module.
	Apply func(ctx context.Context, m AppliedModule) (message string, err error)
	// Remove takes away what Apply has brought, also when that ended half way. A module that the server does not have is no error.
	Remove func(ctx context.Context, id string) error
}

// AppliedModule is a module on its way to a server.
type AppliedModule struct {
	ID       string // UUID
	Name     string // for a person; anything that a tenant likes
	Contents []byte // 32 KiB at most
	Root     bool   // it is an admin's, whom nobody else can change: what is in it may have the rights of root
}

// ModuleTypes are the types of modules that a manager takes, in its order.
func ModuleTypes(m Manager) (types []string) {
	if able, ok := m.(Modules); ok {
		for _, d := range able.ModuleDrivers() {
			types = append(types, d.Type)
		}
	}
	return types
}

// FindModuleDriver returns the driver of a type; Unsupported when there is none.
func FindModuleDriver(m Modules, name string) (ModuleDriver, error) {
	all := m.ModuleDrivers()
	if i := slices.IndexFunc(all, func(d ModuleDriver) bool { return d.Type == name }); i >= 0 {
		return all[i], nil
	}
	return ModuleDriver{}, Errorf(Unsupported, "this datastore takes no modules of type %s", name)
}

// What has become of a module, in Trove's words, and in two of ours while that is not known.
const (
	ModuleOK       = "OK"
	ModuleError    = "ERROR"
	ModuleApplying = "APPLYING"
	ModuleRemoving = "REMOVING"
)

// ModuleArgs is a module as it travels.
type ModuleArgs struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Type     string `json:"type"`
	MD5      string `json:"md5,omitempty"`
	Contents Secret `json:"contents,omitzero"` // base64
	Root     bool   `json:"root,omitempty"`    // see [AppliedModule]
	Member   bool   `json:"member,omitempty"`  // the server is a cluster's: what is applied once is refused
	Had      string `json:"had,omitempty"`     // the MD5 of what has been applied to the data of which a new server is made
}

// NewModuleArgs is a module that is to be applied, marked for being sealed at once.
func NewModuleArgs(id, name, kind, md5 string, contents []byte) ModuleArgs {
	return ModuleArgs{ID: id, Name: name, Type: kind, MD5: md5, Contents: NewSecret(base64.StdEncoding.EncodeToString(contents)).ForSealing()}
}

// Module is the module for its driver.
func (a ModuleArgs) Module() (AppliedModule, error) {
	contents, err := base64.StdEncoding.DecodeString(a.Contents.Reveal())
	if err != nil {
		return AppliedModule{}, Errorf(Invalid, "what is in module %s cannot be read", a.ID) // the error of encoding/base64 tells of it
	}
	return AppliedModule{a.ID, a.Name, contents, a.Root}, nil
}

// ModulesArgs are the modules to take away, and then those to apply, in their order.
type ModulesArgs struct {
	Remove []ModuleArgs `json:"remove,omitempty"`
	Apply  []ModuleArgs `json:"apply,omitempty"`
}

// ModulesReply tells of all modules that the server has, and of each that was to be taken away.
type ModulesReply struct {
	Modules         []ModuleState `json:"modules"`
	RestartRequired bool          `json:"restart_required,omitempty"` // some parameters are not in force without
}

// ModuleState is what has become of a module.
type ModuleState struct {
	ID      string `json:"id"`
	Name    string `json:"name,omitempty"`
	Type    string `json:"type"`
	MD5     string `json:"md5,omitempty"`
	Status  string `json:"status"` // ModuleOK or ModuleError
	Message string `json:"message,omitempty"`
	Removed bool   `json:"removed,omitempty"` // the server does not have it any more
}
