package api

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
)

// updateInstance renames, and changes one thing beside: the configuration group, the source, the datastore version or who may
// reach it. An empty object asks to detach the configuration group. The name comes last: when anything is refused, nothing of it
// was done.
func (a *API) updateInstance(r *request) (reply, error) {
	body, err := decode[struct {
		Instance map[string]json.RawMessage `json:"instance"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.Instance == nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'instance' is a required property.")
	}
	name, err := newName(body.Instance)
	if err != nil {
		return reply{}, err
	}
	change, err := a.changeOf(body.Instance)
	if err != nil {
		return reply{}, err
	}
	if change != nil {
		if err := change(r.ctx, r.Caller, r.param("id")); err != nil || name == "" {
			return accepted(err)
		}
	}
	return accepted(a.Control.Rename(r.ctx, r.Caller, r.param("id"), name))
}

// change is what an update does to an instance beside its name.
type change func(ctx context.Context, c control.Caller, id string) error

// newName reads the name of an update; "" when it keeps the old one.
func newName(update map[string]json.RawMessage) (name string, err error) {
	raw, ok := update["name"]
	if !ok {
		return "", nil
	}
	if err := json.Unmarshal(raw, &name); err != nil || !control.ValidName(name) {
		return "", fault.Errorf(fault.BadRequest, "Validation error: instance['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	return name, nil
}

// changeOf finds what an update asks for beside the name; nil when that is all.
func (a *API) changeOf(update map[string]json.RawMessage) (wanted change, err error) {
	for key, value := range update {
		var one change
		switch key {
		case "name":
			continue
		case "configuration":
			one, err = a.attachment(value)
		case "replica_of", "slave_of":
			one = a.Control.Detach
		case "datastore_version":
			one, err = a.upgrading(value)
		case "access":
			one, err = a.accessChange(value)
		case "deletion_protection":
			one, err = a.protection(value)
		default:
			return nil, fault.Errorf(fault.BadRequest, "Validation error: instance[%q] is unknown; allowed: name, configuration, replica_of, datastore_version, access, deletion_protection.", key)
		}
		if err != nil {
			return nil, err
		}
		if wanted != nil {
			return nil, fault.Errorf(fault.BadRequest, "Validation error: beside the name only one of configuration, replica_of, datastore_version, access and deletion_protection can be changed at a time.")
		}
		wanted = one
	}
	if len(update) == 0 {
		wanted = func(ctx context.Context, c control.Caller, id string) error { return a.Control.Attach(ctx, c, id, "") }
	}
	return wanted, nil
}

// attachment reads the configuration of an update: an id or href, or null to detach.
func (a *API) attachment(raw json.RawMessage) (change, error) {
	var group *string
	if err := json.Unmarshal(raw, &group); err != nil {
		return nil, fault.Errorf(fault.BadRequest, "Validation error: instance['configuration'] must be the id of a configuration group, or null.")
	}
	id := ""
	if group != nil {
		id = control.LastPart(*group)
	}
	return func(ctx context.Context, c control.Caller, instance string) error {
		return a.Control.Attach(ctx, c, instance, id)
	}, nil
}

// accessChange reads who may reach the instance from now on.
func (a *API) accessChange(raw json.RawMessage) (change, error) {
	var access control.Access
	if err := json.Unmarshal(raw, &access); err != nil {
		return nil, fault.Errorf(fault.BadRequest, `Validation error: access must be like {"is_public": true, "allowed_cidrs": ["10.0.0.0/8"]}.`)
	}
	return func(ctx context.Context, c control.Caller, id string) error {
		return a.Control.SetAccess(ctx, c, id, access)
	}, nil
}

// protection reads whether the instance is protected from deletion from now on.
func (a *API) protection(raw json.RawMessage) (change, error) {
	var protected *bool
	if err := json.Unmarshal(raw, &protected); err != nil || protected == nil {
		return nil, fault.Errorf(fault.BadRequest, "Validation error: instance['deletion_protection'] must be true or false.")
	}
	return func(ctx context.Context, c control.Caller, id string) error {
		return a.Control.Protect(ctx, c, id, *protected)
	}, nil
}

// upgrading reads the version that the instance is brought to, by name or id.
func (a *API) upgrading(raw json.RawMessage) (change, error) {
	var ref string
	if err := json.Unmarshal(raw, &ref); err != nil || ref == "" {
		return nil, fault.Errorf(fault.BadRequest, "Validation error: instance['datastore_version'] must be the name or id of a version.")
	}
	return func(ctx context.Context, c control.Caller, id string) error {
		return a.Control.Upgrade(ctx, c, id, ref)
	}, nil
}

// resizeInstance gives an instance a larger volume, and its replicas with it, or another flavor.
func (a *API) resizeInstance(r *request, raw json.RawMessage) (reply, error) {
	var args struct {
		Volume    json.RawMessage    `json:"volume"`
		FlavorRef control.StringOrID `json:"flavorRef"`
	}
	if err := json.Unmarshal(raw, &args); err != nil || (args.FlavorRef == "") == (len(args.Volume) == 0) {
		return reply{}, fault.Errorf(fault.BadRequest, `Validation error: resize takes {"volume": {"size": GB}} or {"flavorRef": id}.`)
	}
	if args.FlavorRef != "" {
		return accepted(a.Control.ResizeFlavor(r.ctx, r.Caller, r.param("id"), control.LastPart(string(args.FlavorRef))))
	}
	size, err := sizeOf(args.Volume)
	if err != nil {
		return reply{}, err
	}
	return accepted(a.Control.ResizeVolume(r.ctx, r.Caller, r.param("id"), size))
}

// sizeOf reads a volume's size: in an object, as openstacksdk does not, or alone.
func sizeOf(raw json.RawMessage) (int, error) {
	var object struct {
		Size control.StringOrID `json:"size"`
	}
	if json.Unmarshal(raw, &object) != nil && json.Unmarshal(raw, &object.Size) != nil {
		object.Size = ""
	}
	size, err := strconv.Atoi(string(object.Size))
	if err != nil || size < 1 {
		return 0, fault.Errorf(fault.BadRequest, "Validation error: resize['volume']['size'] %s is not a number of GB of 1 or more.", raw)
	}
	return size, nil
}
