package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/objectives"
)

// updateInstance renames, and changes one thing beside: the configuration group, the source, the datastore version, who may
// reach it, whether its log is shipped or what is asked of its recovery. An empty object asks to detach the configuration group. The name comes last: when anything is refused, nothing of it
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
		case "pitr":
			one, err = a.shipping(value)
		case "objectives":
			one, err = a.objectives(value)
		case "failover":
			one, err = a.failover(value)
		case "maintenance_window":
			one, err = a.maintenanceWindow(value)
		default:
			return nil, fault.Errorf(fault.BadRequest, "Validation error: instance[%q] is unknown; allowed: name, configuration, replica_of, datastore_version, access, deletion_protection, pitr, objectives, failover, maintenance_window.", key)
		}
		if err != nil {
			return nil, err
		}
		if wanted != nil {
			return nil, fault.Errorf(fault.BadRequest, "Validation error: beside the name only one of configuration, replica_of, datastore_version, access, deletion_protection, pitr, objectives, failover and maintenance_window can be changed at a time.")
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

// shipping reads whether the log of the instance is shipped from now on.
func (a *API) shipping(raw json.RawMessage) (change, error) {
	var pitr *control.PITR
	if err := json.Unmarshal(raw, &pitr); err != nil || pitr == nil {
		return nil, fault.Errorf(fault.BadRequest, `Validation error: instance['pitr'] must be like {"enabled": true, "rpo": 30}.`)
	}
	return func(ctx context.Context, c control.Caller, id string) error {
		return a.Recovery.Set(ctx, c, id, *pitr)
	}, nil
}

// objectives reads what is asked of the instance's recovery from now on.
func (a *API) objectives(raw json.RawMessage) (change, error) {
	var asked objectives.Request
	if err := strictly(raw, &asked); err != nil {
		asked = objectives.Request{} // which is refused with what it must be like
	}
	return func(ctx context.Context, c control.Caller, id string) error {
		return a.Objectives.Set(ctx, c, id, asked)
	}, nil
}

// strictly decodes JSON that has no other fields.
func strictly(raw json.RawMessage, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// failover reads whether a replica takes the place of a lost source: automatic, manual, or an object that says more.
func (a *API) failover(raw json.RawMessage) (change, error) {
	var asked control.Failover
	if json.Unmarshal(raw, &asked.Mode) != nil {
		if err := strictly(raw, &asked); err != nil {
			return nil, fault.Errorf(fault.BadRequest, `Validation error: failover must be "automatic", "manual", or like {"mode": "automatic", "acknowledgements": 1, "grace_seconds": 30, "degrade": "asynchronous"}.`)
		}
	}
	return func(ctx context.Context, c control.Caller, id string) error {
		return a.Control.SetFailover(ctx, c, id, asked)
	}, nil
}

// maintenanceWindow reads when an operator may interrupt the instance; null: in the project's default window.
func (a *API) maintenanceWindow(raw json.RawMessage) (change, error) {
	w, err := readWindow(raw)
	return func(ctx context.Context, c control.Caller, id string) error {
		return a.Maintenance.SetWindow(ctx, c, id, w)
	}, err
}

func readWindow(raw json.RawMessage) (w *etcdschema.MaintenanceWindow, err error) {
	if err := strictly(raw, &w); err != nil {
		return nil, fault.Errorf(fault.BadRequest, `Validation error: maintenance_window must be like {"days": ["sat", "sun"], "start": "02:30", "duration_minutes": 120, "timezone": "Europe/Berlin"}, or null.`)
	}
	return w, nil
}

// showMaintenance shows the project's default window.
func (a *API) showMaintenance(r *request) (reply, error) {
	w, err := a.Maintenance.Default(r.ctx, r.Project)
	return reply{http.StatusOK, map[string]any{"maintenance_window": w}}, err
}

// updateMaintenance gives the project another default window, or none.
func (a *API) updateMaintenance(r *request) (reply, error) {
	body, err := decode[map[string]json.RawMessage](r)
	if err != nil {
		return reply{}, err
	}
	if len(body["maintenance_window"]) == 0 {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'maintenance_window' is a required property.")
	}
	w, err := readWindow(body["maintenance_window"])
	if err != nil {
		return reply{}, err
	}
	return accepted(a.Maintenance.SetDefault(r.ctx, r.Project, w))
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
