package datastores

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Manifest is what a guest binary says of itself with `describe`, and sends at enrolment.
type Manifest struct {
	Manager      string       `json:"manager"`
	Capabilities []Capability `json:"capabilities"`
	Offers       []Offer      `json:"datastores"`
	Options      []OptionDoc  `json:"guest_options"` // every option that the guest half may hold
	Logs         []Log        `json:"logs,omitempty"`
}

// Offer is one datastore version that a plug-in serves, with the two halves of its definition, ready to be put into
// etcd. Guest is the plug-in's defaults with the offer's own changes.
type Offer struct {
	Datastore   string          `json:"datastore"`
	Version     string          `json:"version"`
	Description string          `json:"description,omitempty"`
	Server      ServerOptions   `json:"server"`
	Guest       json.RawMessage `json:"guest"`
}

// OptionDoc documents one guest option.
type OptionDoc struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"` // string, integer, boolean, list, number, object
	Default json.RawMessage `json:"default"`
	Doc     string          `json:"doc,omitempty"`
}

// Plugin is a datastore as one entity: options and manager. Make it with [NewPlugin].
type Plugin struct {
	manifest Manifest
	new      func(env Env, options []byte) (Manager, error)
	common   func(options []byte) (GuestOptions, error)
	problems func(options []byte) []error
	program  func(options []byte) Program
}

// Options is a plug-in's options struct: JSON fields, a doc tag each, GuestOptions embedded.
type Options interface {
	// Problems returns everything that is wrong, each error with the option's path.
	Problems() []error
	// Common returns the embedded GuestOptions.
	Common() GuestOptions
}

// NewPlugin ties a manager to its options. defaults is an options struct (not a pointer) filled with the defaults. open
// must not touch anything outside itself: it is also called, with the zero Env, to find out what the manager can do.
// offers name what it serves; their Guest is filled in here, the defaults changed by what the offer's own Guest says, and in
// their Server what the manager itself tells: manager, capabilities, names, strategies, parameters. An offer of a manager with
// strategies names the one to use; without it the first is.
//
// It panics when the defaults or an offer are not valid: a binary that cannot work should not start.
func NewPlugin[O Options](manager string, defaults O, open func(Env, O) Manager, offers ...Offer) Plugin {
	p := Plugin{manifest: Manifest{
		Manager:      manager,
		Capabilities: Capabilities(open(Env{}, defaults)),
		Options:      optionDocs(defaults),
	}}
	if m, ok := open(Env{}, defaults).(Logs); ok {
		p.manifest.Logs = m.Logs()
	}
	p.new = func(env Env, raw []byte) (Manager, error) {
		o, err := decodeOptions(defaults, raw)
		if err != nil {
			return nil, err
		}
		return open(env, o), nil
	}
	p.common = func(raw []byte) (GuestOptions, error) {
		o, err := decodeOptions(defaults, raw)
		if err != nil {
			return GuestOptions{}, err
		}
		return o.Common(), nil
	}
	p.problems = func(raw []byte) []error {
		_, problems := readOptions(defaults, raw)
		return problems
	}
	p.program = func(raw []byte) Program {
		if o, problems := readOptions(defaults, raw); len(problems) == 0 {
			if named, ok := any(o).(ProgramOptions); ok {
				return named.ServerProgram()
			}
		}
		return Program{}
	}
	for _, offer := range offers {
		o, err := decodeOptions(defaults, offer.Guest)
		if err != nil {
			panic(fmt.Sprintf("datastores: plug-in %s, %s %s: %v", manager, offer.Datastore, offer.Version, err))
		}
		offer.Server = tell(offer.Server, manager, open(Env{}, o))
		if problems := offer.Server.Problems(); len(problems) > 0 {
			panic(fmt.Sprintf("datastores: plug-in %s, %s %s: %v", manager, offer.Datastore, offer.Version, problems))
		}
		offer.Guest, _ = json.Marshal(o)
		p.manifest.Offers = append(p.manifest.Offers, offer)
	}
	return p
}

// tell fills in what the manager says of itself.
func tell(o ServerOptions, manager string, m Manager) ServerOptions {
	o.Manager, o.Capabilities, o.Names = manager, Capabilities(m), RulesOf(m)
	if b, ok := m.(Backups); ok {
		for _, s := range b.BackupStrategies() {
			o.BackupStrategies = append(o.BackupStrategies, Strategy{StrategyName: s.StrategyName, Incremental: s.Incremental, Replays: s.Replays, Precision: s.Precision.Seconds(), Logical: s.Logical, Upgrades: s.Upgrades, Tool: s.Tool})
		}
		o.BackupStrategy = cmp.Or(o.BackupStrategy, o.BackupStrategies[0].Name)
	}
	if r, ok := m.(Replication); ok && replicates(m) {
		for _, name := range StrategyNames(r.ReplicationStrategies()) {
			o.ReplicationStrategies = append(o.ReplicationStrategies, Strategy{StrategyName: name})
		}
		o.ReplicationStrategy = cmp.Or(o.ReplicationStrategy, o.ReplicationStrategies[0].Name)
	}
	o.ModuleTypes = ModuleTypes(m)
	if s, ok := m.(Streamer); ok {
		o.ReplicationStream = s.ReplicationStream()
	}
	if c, ok := m.(Cluster); ok {
		shape := c.ClusterShape()
		o.ClusterSupport, o.Cluster = true, &shape
	}
	if c, ok := m.(Configuration); ok {
		o.Parameters = c.Parameters()
	}
	return o
}

// Manifest says what the plug-in is.
func (p Plugin) Manifest() Manifest { return p.manifest }

// Open makes the manager with options, the JSON of a definition's guest half; what it leaves out has its default. The
// error lists everything that is wrong with them.
func (p Plugin) Open(env Env, options []byte) (Manager, error) { return p.new(env, options) }

// Common reads the part of options that every datastore has, as Open does: what they leave out has its default.
func (p Plugin) Common(options []byte) (GuestOptions, error) { return p.common(options) }

// CommonOptions reads the GuestOptions part of a definition's guest half.
func CommonOptions(options []byte) (GuestOptions, error) {
	var o GuestOptions
	if len(options) == 0 {
		return o, nil
	}
	err := json.Unmarshal(options, &o)
	return o, err
}

func decodeOptions[O Options](defaults O, raw []byte) (O, error) {
	o, problems := readOptions(defaults, raw)
	if len(problems) == 0 {
		return o, nil
	}
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Error()
	}
	return o, fmt.Errorf("guest options: %s", strings.Join(texts, "; "))
}

// readOptions returns the defaults as raw changes them, and everything that is wrong with that.
func readOptions[O Options](defaults O, raw []byte) (O, []error) {
	// Through JSON, so that decoding raw does not write into lists that every instance's defaults share.
	var o O
	own, err := json.Marshal(defaults)
	if err == nil {
		err = json.Unmarshal(own, &o)
	}
	if err != nil {
		return o, []error{fmt.Errorf("defaults of the guest options: %w", err)}
	}
	if len(raw) > 0 {
		if problems := fill(&o, raw); len(problems) > 0 {
			return o, problems
		}
	}
	return o, o.Problems()
}

// optionDocs reads names, types and doc tags off an options struct; embedded structs count as their fields.
func optionDocs(defaults any) []OptionDoc {
	var docs []OptionDoc
	v := reflect.ValueOf(defaults)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			docs = append(docs, optionDocs(v.Field(i).Interface())...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		def, _ := json.Marshal(v.Field(i).Interface())
		docs = append(docs, OptionDoc{Name: name, Type: jsonType(f.Type), Default: def, Doc: f.Tag.Get("doc")})
	}
	return docs
}

func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice:
		return "list"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint, reflect.Uint64, reflect.Uint32:
		return "integer"
	}
	return "object"
}
