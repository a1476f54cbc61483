package control

import (
	"cmp"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
)

// VersionRequest is what operators may say of a datastore version through Trove's API: POST mgmt/datastore-versions, PATCH of one. What is
// nil stays as it is. Trove's image is Glance's; here it is the tree of files that guest and server run in.
type VersionRequest struct {
	Name      *string       `json:"name"`
	Datastore string        `json:"datastore_name"`
	Manager   *string       `json:"datastore_manager"`
	Number    *string       `json:"version"`
	Image     *string       `json:"image"`
	ImageTags *[]string     `json:"image_tags"`
	Packages  *packageNames `json:"packages"`
	Active    *bool         `json:"active"`
	Default   *bool         `json:"default"`
}

// packageNames are a list of them, or as Trove also takes it a text with commas.
type packageNames []string

func (n *packageNames) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*n = strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
		return nil
	}
	return json.Unmarshal(b, (*[]string)(n))
}

// change puts what was asked for into the halves of a definition.
func (req VersionRequest) change(server *datastores.ServerOptions, guest *json.RawMessage) error {
	if req.Image != nil {
		if *req.Image != "" && !filepath.IsLocal(*req.Image) {
			return fault.Errorf(fault.BadRequest, "Validation error: image %q is not the name of a tree below the hosts' -image-dir.", *req.Image)
		}
		server.Image = *req.Image
	}
	if req.ImageTags != nil {
		server.ImageTags = *req.ImageTags
	}
	if req.Active != nil {
		server.Active = req.Active
	}
	if problems := server.Problems(); len(problems) > 0 {
		return fault.Errorf(fault.BadRequest, "Validation error: %v.", problems[0])
	}
	if req.Packages == nil || len(*req.Packages) == 0 {
		return nil // clients send an empty list when nobody has said any
	}
	var options map[string]any
	if err := json.Unmarshal(*guest, &options); err != nil {
		return err
	}
	options["packages"] = *req.Packages
	var err error
	*guest, err = json.Marshal(options)
	return err
}

// DefineVersion puts the two halves of a new version, as an operator does with etcdctl. What Trove's request does not say is as in the
// definition of the same manager that is nearest: of the same datastore, of the same number of the server.
func (cp *Plane) DefineVersion(ctx context.Context, req VersionRequest) error {
	switch {
	case req.Name == nil || !etcdschema.ValidName(*req.Name):
		return fault.Errorf(fault.BadRequest, "Validation error: version['name'] must be 1 to 63 of a-z 0-9 . _ -.")
	case !etcdschema.ValidName(req.Datastore):
		return fault.Errorf(fault.BadRequest, "Validation error: version['datastore_name'] must be 1 to 63 of a-z 0-9 . _ -.")
	case req.Manager == nil || req.Active == nil:
		return fault.Errorf(fault.BadRequest, "Validation error: version['datastore_manager'] and version['active'] are required.")
	}
	catalogue, err := cp.Catalogue(ctx)
	if err != nil {
		return err
	}
	model, err := modelOf(catalogue, req)
	if err != nil {
		return err
	}
	serverKey, guestKey := etcdschema.VersionKey(req.Datastore, *req.Name), etcdschema.GuestOptionsKey(req.Datastore, *req.Name)
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{serverKey, guestKey}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		server, err := etcdschema.Read(s, serverKey)
		if err != nil {
			return nil, err
		}
		guest, err := etcdschema.Read(s, guestKey)
		if err != nil {
			return nil, err
		}
		if server.Found || guest.Found {
			return nil, fault.Errorf(fault.BadRequest, "A definition of %s %s is there already.", req.Datastore, *req.Name)
		}
		server.Value, guest.Value = model.Server, slices.Clone(model.Guest)
		if err := req.change(&server.Value, &guest.Value); err != nil {
			return nil, err
		}
		ops := []etcdschema.Op{etcdschema.Put(serverKey, server.Value), etcdschema.Put(guestKey, guest.Value)}
		return withDefault(s, ops, req.Datastore, *req.Name, req.Default)
	})
	return err
}

// modelOf finds the definition that a new one is like.
func modelOf(c etcdschema.Catalogue, req VersionRequest) (etcdschema.Version, error) {
	var all []etcdschema.Version
	var numbers []string
	for _, d := range c.Datastores {
		for _, v := range d.Versions {
			if v.Server.Manager != *req.Manager {
				continue
			}
			numbers = append(numbers, v.Server.VersionNumber)
			if req.Number == nil || *req.Number == v.Server.VersionNumber {
				all = append(all, v)
			}
		}
	}
	if len(numbers) == 0 {
		return etcdschema.Version{}, fault.Errorf(fault.BadRequest, "No definition has the manager %q, which could be taken as a model; put one with coffer definitions put.", *req.Manager)
	}
	if len(all) == 0 {
		slices.Sort(numbers)
		return etcdschema.Version{}, fault.Errorf(fault.BadRequest, "No definition of manager %s is of server %s, which could be taken as a model; there is: %s. Put one with coffer definitions put.",
			*req.Manager, *req.Number, strings.Join(slices.Compact(numbers), ", "))
	}
	is := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return slices.MaxFunc(all, func(a, b etcdschema.Version) int {
		return cmp.Or(
			is(a.Datastore == req.Datastore)-is(b.Datastore == req.Datastore),
			is(a.Offered() && a.Unserved == "")-is(b.Offered() && b.Unserved == ""),
			datastores.CompareVersions(a.Server.VersionNumber, b.Server.VersionNumber))
	}), nil
}

// withDefault adds to the ops of a version what makes it the default of its datastore, or ends that; nil: neither.
func withDefault(s etcdschema.Snapshot, ops []etcdschema.Op, datastore, version string, is *bool) ([]etcdschema.Op, error) {
	if is == nil {
		return ops, nil
	}
	key := etcdschema.DatastoreKey(datastore)
	rec, err := etcdschema.Read(s, key)
	switch {
	case err != nil:
		return nil, err
	case *is:
		rec.Value.DefaultVersion = version
	case rec.Value.DefaultVersion == version:
		rec.Value.DefaultVersion = ""
	default:
		return ops, nil
	}
	return append(ops, etcdschema.Put(key, rec.Value)), nil
}

// ChangeVersion changes a definition. Instances that are there keep what theirs said when they were made.
func (cp *Plane) ChangeVersion(ctx context.Context, v etcdschema.Version, req VersionRequest) error {
	switch {
	case req.Name != nil && *req.Name != v.Name:
		return fault.Errorf(fault.BadRequest, "A version cannot be renamed, its id is made of its name; create another one.")
	case req.Manager != nil && *req.Manager != v.Server.Manager:
		return fault.Errorf(fault.BadRequest, "Version %s of %s has the manager %s, and its options are that manager's; create another version.", v.Name, v.Datastore, v.Server.Manager)
	}
	serverKey, guestKey := etcdschema.VersionKey(v.Datastore, v.Name), etcdschema.GuestOptionsKey(v.Datastore, v.Name)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{serverKey, guestKey}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, serverKey)
		server, err := fault.Found(rec, err, "Datastore version", v.Name)
		if err != nil {
			return nil, err
		}
		half, err := etcdschema.Read(s, guestKey)
		guest, err := fault.Found(half, err, "Datastore version", v.Name)
		if err != nil {
			return nil, err
		}
		if err := req.change(&server, &guest); err != nil {
			return nil, err
		}
		ops := []etcdschema.Op{etcdschema.Put(serverKey, server), etcdschema.Put(guestKey, guest)}
		return withDefault(s, ops, v.Datastore, v.Name, req.Default)
	})
	return err
}

// RemoveVersion deletes a definition that nothing is made of. A create that has read it and is not committed yet goes on: an instance
// keeps what it needs of its definition.
func (cp *Plane) RemoveVersion(ctx context.Context, v etcdschema.Version) error {
	is := func(datastore, version string) bool { return datastore == v.Datastore && version == v.Name }
	used := func(id string, err error) error {
		if err == nil && id != "" {
			err = fault.Errorf(fault.Conflict, "Version %s of %s is in use: by %s. Delete what uses it, or hide the version: active false.", v.Name, v.Datastore, id)
		}
		return err
	}
	if err := used(firstOf(ctx, cp.Store, etcdschema.AllInstances(), func(in etcdschema.Instance) (string, bool) {
		return "instance " + in.ID, is(in.Datastore, in.Version)
	})); err != nil {
		return err
	}
	if err := used(firstOf(ctx, cp.Store, etcdschema.AllBackups(), func(b etcdschema.Backup) (string, bool) {
		return "backup " + b.BackupID, is(b.Datastore, b.Version) && !b.Deleting
	})); err != nil {
		return err
	}
	if err := used(firstOf(ctx, cp.Store, etcdschema.AllConfigurations(), func(c etcdschema.Configuration) (string, bool) {
		return "configuration group " + c.ID, is(c.Datastore, c.Version)
	})); err != nil {
		return err
	}
	_, err := cp.Store.Update(ctx, nil, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		ops := []etcdschema.Op{
			etcdschema.Delete(etcdschema.VersionKey(v.Datastore, v.Name)), etcdschema.Delete(etcdschema.GuestOptionsKey(v.Datastore, v.Name)),
		}
		return withDefault(s, ops, v.Datastore, v.Name, new(bool))
	})
	return err
}

// firstOf looks through the records of all projects, and says which is the first of those that are meant; "": there is none.
func firstOf[T any](ctx context.Context, s *etcdschema.Store, all etcdschema.Prefix[T], meant func(T) (string, bool)) (string, error) {
	for page := (etcdschema.Page{Limit: 1000}); ; {
		list, err := etcdschema.List(ctx, s, all, page)
		if err != nil {
			return "", err
		}
		for _, rec := range list.Records {
			if name, is := meant(rec.Value); is {
				return name, nil
			}
		}
		if !list.More {
			return "", nil
		}
		page.After = list.Last
	}
}

// RemoveDatastore deletes what is said of a datastore that has no versions any more.
func (cp *Plane) RemoveDatastore(ctx context.Context, ref string) error {
	catalogue, err := cp.Catalogue(ctx)
	if err != nil {
		return err
	}
	d, ok := FindDatastore(catalogue, ref)
	if !ok {
		return fault.NotFound("Datastore", ref)
	}
	if n := len(d.Versions); n > 0 {
		return fault.Errorf(fault.BadRequest, "Datastore %s still has %d versions; delete them first.", d.Name, n)
	}
	_, err = cp.Store.Update(ctx, nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Delete(etcdschema.DatastoreKey(d.Name))}, nil
	})
	return err
}

// EditParameters changes the rules in a version's definition, which must be good before and after.
func (cp *Plane) EditParameters(ctx context.Context, v etcdschema.Version, edit func([]datastores.Parameter) ([]datastores.Parameter, error)) error {
	key := etcdschema.VersionKey(v.Datastore, v.Name)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		server := rec.Value
		if server.Parameters, err = edit(slices.Clone(server.Parameters)); err != nil {
			return nil, err
		}
		if problems := server.Problems(); len(problems) > 0 {
			return nil, fault.Errorf(fault.BadRequest, "Validation error: %v.", problems[0])
		}
		return []etcdschema.Op{etcdschema.Put(key, server)}, nil
	})
	return err
}
