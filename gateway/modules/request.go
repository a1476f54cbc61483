package modules

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/limits"
)

const (
	defaultOrder = 5 // Trove's
	maxOrder     = 9
)

var typeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Request is what a client says of a module; what it does not say stays as it is.
type Request struct {
	Name        *string `json:"name"`
	Type        *string `json:"module_type"`
	Contents    *string `json:"contents"` // base64, with white space anywhere
	Description *string `json:"description"`
	Datastore   struct {
		Type    *string `json:"type"`
		Version *string `json:"version"`
	} `json:"datastore"`
	AllDatastores *control.Bit `json:"all_datastores"`
	AllVersions   *control.Bit `json:"all_datastore_versions"`

	AllTenants    *control.Bit `json:"all_tenants"`
	AutoApply     *control.Bit `json:"auto_apply"`
	Visible       *control.Bit `json:"visible"`
	LiveUpdate    *control.Bit `json:"live_update"`
	PriorityApply *control.Bit `json:"priority_apply"`
	FullAccess    *control.Bit `json:"full_access"` // its project may change a module that an admin has made
	Order         *int         `json:"apply_order"`
}

// into changes a module as the request says, or refuses it. The contents are not the module's; see [Request.contents].
func (req Request) into(m *etcdschema.Module, catalogue etcdschema.Catalogue, admin bool) error {
	set(&m.Name, req.Name)
	set(&m.Description, req.Description)
	set(&m.Type, req.Type)
	set(&m.Order, req.Order)
	m.Type = strings.ToLower(m.Type)
	for _, one := range []struct {
		to   *bool
		from *control.Bit
		not  bool
	}{
		{&m.Shared, req.AllTenants, false}, {&m.AutoApply, req.AutoApply, false}, {&m.Hidden, req.Visible, true},
		{&m.LiveUpdate, req.LiveUpdate, false}, {&m.PriorityApply, req.PriorityApply, false}, {&m.Admin, req.FullAccess, true},
	} {
		if one.from != nil {
			*one.to = bool(*one.from) != one.not
		}
	}
	switch {
	case !control.ValidName(m.Name):
		return fault.Errorf(fault.BadRequest, "Validation error: module['name'] must be a string of 1 to 255 characters with a letter or digit.")
	case !typeName.MatchString(m.Type):
		return fault.Errorf(fault.BadRequest, "Validation error: module['module_type'] must be a type of modules, such as ping or key_file.")
	case m.Order < 0 || m.Order > maxOrder:
		return fault.Errorf(fault.BadRequest, "Validation error: module['apply_order'] must be from 0 to %d.", maxOrder)
	}
	if err := limits.Bounded("module['description']", m.Description, limits.MaxDescription); err != nil {
		return err
	}
	if err := req.datastore(m, catalogue); err != nil {
		return err
	}
	if err := offered(*m, catalogue); err != nil {
		return err
	}
	return req.allowed(m, admin)
}

// datastore changes what a module is for.
func (req Request) datastore(m *etcdschema.Module, catalogue etcdschema.Catalogue) error {
	asked := req.Datastore
	allStores, allVersions := req.AllDatastores != nil && bool(*req.AllDatastores), req.AllVersions != nil && bool(*req.AllVersions)
	switch {
	case allStores && (asked.Type != nil || asked.Version != nil):
		return fault.Errorf(fault.BadRequest, "Validation error: a module is for all datastores or for the one that is named, not for both.")
	case allVersions && asked.Version != nil:
		return fault.Errorf(fault.BadRequest, "Validation error: a module is for all versions or for the one that is named, not for both.")
	case allStores:
		m.Datastore, m.Version = "", ""
		return nil
	case allVersions:
		m.Version = ""
	}
	if asked.Type != nil {
		was := m.Datastore
		if m.Datastore = ""; *asked.Type != "" {
			d, ok := control.FindDatastore(catalogue, *asked.Type)
			if !ok {
				return fault.NotFound("Datastore", *asked.Type)
			}
			m.Datastore = d.Name
		}
		if m.Datastore != was {
			m.Version = ""
		}
	}
	if asked.Version == nil {
		return nil
	}
	if m.Version = ""; *asked.Version == "" {
		return nil
	}
	d, ok := control.FindDatastore(catalogue, m.Datastore)
	if !ok {
		return fault.Errorf(fault.BadRequest, "Validation error: module['datastore'] has a 'version'; say the 'type', too.")
	}
	v, ok := control.FindVersion(d.Versions, *asked.Version)
	if !ok {
		return fault.Errorf(fault.BadRequest, "Datastore version '%s' of %s cannot be found.", *asked.Version, d.Name)
	}
	m.Version = v.Name
	return nil
}

// allowed refuses to all but admins what is theirs to say, as Trove does.
func (req Request) allowed(m *etcdschema.Module, admin bool) error {
	var options []string
	for _, one := range []struct {
		name string
		has  bool
	}{{"all_tenants", m.Shared}, {"auto_apply", m.AutoApply}, {"visible", m.Hidden}, {"priority_apply", m.PriorityApply}} {
		if one.has {
			options = append(options, one.name)
		}
	}
	if req.FullAccess != nil {
		if bool(*req.FullAccess) && len(options) > 0 {
			return fault.Errorf(fault.BadRequest, "Validation error: full_access cannot be had together with %s: a project may not change those.", strings.Join(options, ", "))
		}
		options = append(options, "full_access")
	}
	if len(options) > 0 && !admin {
		return fault.Errorf(fault.Forbidden, "Only an admin may make or change a module with %s.", strings.Join(options, ", "))
	}
	if len(options) > 0 && req.FullAccess == nil {
		m.Admin = true
	}
	return nil
}

// contents are what the request brings, and their MD5; nil: it brings none.
func (req Request) contents() (contents []byte, sum string, err error) {
	if req.Contents == nil {
		return nil, "", nil
	}
	text := strings.Join(strings.Fields(*req.Contents), "")
	if base64.StdEncoding.DecodedLen(len(text)) > limits.MaxModule+2 {
		return nil, "", tooMuch()
	}
	contents, err = base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
		return nil, "", fault.Errorf(fault.BadRequest, "Validation error: module['contents'] must be base64 of what is in the module.")
	case len(contents) == 0:
		return nil, "", fault.Errorf(fault.BadRequest, "Validation error: module['contents'] must not be empty.")
	case len(contents) > limits.MaxModule:
		return nil, "", tooMuch()
	}
	digest := md5.Sum(contents) // a mark by which clients tell versions apart, as Trove has it; nothing is protected by it
	return contents, hex.EncodeToString(digest[:]), nil
}

func tooMuch() error {
	return limits.Over("module", fault.BadRequest, "Validation error: a module may hold %d bytes.", limits.MaxModule)
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
