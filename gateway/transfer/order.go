package transfer

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

const (
	// patience is how long the gateways wait for what an imported backup holds. Then it has failed.
	patience = 24 * time.Hour
	// longestChain is how many backups may build on each other, as of those that are made here.
	longestChain = 50
	// maxGB is what the data of a backup may have on its volume.
	maxGB = 1 << 20
)

// Order makes the record of a backup that is brought in: it is NEW, and waits for what it holds, see [Porter.Take].
func (p *Porter) Order(ctx context.Context, c control.Caller, req control.BackupRequest) (b etcdschema.Backup, err error) {
	if b, err = p.check(ctx, c, req); err != nil {
		return b, err
	}
	cp := p.control
	key := etcdschema.BackupKey(c.Project, b.BackupID)
	refs := []etcdschema.Ref{key, etcdschema.UsageKey(c.Project), etcdschema.QuotaKey(c.Project)}
	_, err = cp.Store.Update(ctx, refs, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		b := b
		ops, err := cp.Account(s, c.Project, func(u etcdschema.Usage) etcdschema.Usage {
			u.Backups++
			u.BackupBytes += b.Held
			return u
		})
		if err != nil {
			return nil, err
		}
		if b.Parent != "" {
			parent, err := parentOf(s, b)
			if err != nil {
				return nil, err
			}
			parent.Children = plan.WithMember(parent.Children, b.BackupID, true)
			ops = append(ops, etcdschema.Put(etcdschema.BackupKey(b.Project, b.Parent), parent))
		}
		ops = append(ops, plan.DueRemoval(&b, b.Created.Add(patience), b.Created)...)
		return append(ops, etcdschema.Put(key, b)), nil
	})
	return b, err
}

// check holds a request against all but the quota and the backups that there are.
func (p *Porter) check(ctx context.Context, c control.Caller, req control.BackupRequest) (b etcdschema.Backup, err error) {
	from := *req.RestoreFrom
	bad := func(format string, args ...any) (etcdschema.Backup, error) {
		return b, fault.Errorf(fault.BadRequest, "Validation error: "+format, args...)
	}
	switch {
	case p.control.Blobs == nil:
		return b, control.ErrNoStore
	case !control.ValidName(req.Name):
		return bad("backup['name'] must be a string of 1 to 255 characters with a letter or digit.")
	case len(req.Description) > limits.MaxDescription || limits.HasControl(req.Description):
		return b, limits.Bounded("backup['description']", req.Description, limits.MaxDescription)
	case from.RemoteLocation != "":
		return b, fault.Errorf(fault.NotImplemented, "The gateway fetches nothing from a remote_location: leave it out, and PUT what the backup holds to backups/ID/content.")
	case req.Instance != "" || bool(req.Incremental):
		return bad("restore_from goes without 'instance' and 'incremental'; a backup that builds on another imported one names it as 'parent_id'.")
	case math.IsNaN(from.Size) || from.Size <= 0 || from.Size > maxGB:
		return bad("restore_from['size'] must be how many GB the data takes on a volume, more than 0.")
	case from.Bytes < 0:
		return bad("restore_from['bytes'] must be how many bytes the backup has before compression, or be left out.")
	case len(from.Meta) > maxMeta || !object(from.Meta):
		return bad("restore_from['meta'] must be an object of at most %d bytes, as it stands in the manifest.", maxMeta)
	}
	if from.Tool != "" && (from.Strategy != "" || len(from.Meta) > 0 || req.ParentID != "") {
		return bad("restore_from['tool'] goes without 'strategy', 'meta' and a parent: what a tool has made is a full backup that says itself of what it is.")
	}
	version, strategy, err := p.find(ctx, from)
	if err != nil {
		return b, err
	}
	if problems := datastores.CheckValues(createOnly(version.Server.Parameters), from.Fixed); len(problems) > 0 {
		return bad("restore_from['fixed'] must be as it stands in the manifest, of parameters that fix the format of the data: %v.", problems[0])
	}
	if req.ParentID != "" && !strategy.Incremental {
		return bad("the strategy %s makes no backups that build on others.", strategy.StrategyName)
	}
	container, err := p.control.ContainerFor(ctx, c, req.Container, "")
	if err != nil {
		return b, err
	}
	now := p.control.Now().UTC()
	return etcdschema.Backup{
		BackupRef: datastores.BackupRef{BackupID: plan.NewID(), Strategy: strategy.StrategyName, Meta: from.Meta, Fixed: from.Fixed},
		Project:   c.Project, Name: req.Name, Description: req.Description, Parent: req.ParentID, Datastore: version.Datastore, Version: version.Name,
		VersionNumber: version.Server.VersionNumber, Manager: version.Server.Manager, Container: container, Status: etcdschema.BackupNew, Created: now, Updated: now,
		Used: int64(math.Ceil(from.Size * (1 << 30))), Held: plan.SegmentSize, Import: &etcdschema.Import{By: c.Who.UserName, Bytes: from.Bytes},
	}, nil
}

// createOnly are the parameters that an instance keeps as it was created with: a guest sets what a backup says of them, and asks nobody.
func createOnly(all []datastores.Parameter) []datastores.Parameter {
	return slices.DeleteFunc(slices.Clone(all), func(p datastores.Parameter) bool { return !p.CreateOnly })
}

// find finds the datastore version that a backup is of, and the strategy that takes it.
func (p *Porter) find(ctx context.Context, from control.RestoreFrom) (v etcdschema.Version, strategy datastores.Strategy, err error) {
	catalogue, err := p.control.Catalogue(ctx)
	if err != nil {
		return v, strategy, err
	}
	found := false
	for _, d := range catalogue.Datastores {
		for _, one := range d.Versions {
			if from.VersionID == etcdschema.VersionID(d.Name, one.Name) || from.VersionID == "" && from.Datastore == d.Name && from.Version == one.Name {
				v, found = one, true
			}
		}
	}
	if !found {
		return v, strategy, fault.Errorf(fault.BadRequest, "There is no datastore version %s here, of which the backup is. An operator has to define it; an instance that is made of the backup can be upgraded then.",
			strings.TrimSpace(from.VersionID+" "+from.Datastore+" "+from.Version))
	}
	strategy, err = choose(v, from)
	return v, strategy, err
}

// choose finds the strategy of a version that takes a backup.
func choose(v etcdschema.Version, from control.RestoreFrom) (datastores.Strategy, error) {
	all, want := v.Server.BackupStrategies, cmp.Or(from.Strategy, v.Server.BackupStrategy)
	takes, of := func(s datastores.Strategy) string { return s.String() }, fmt.Sprintf("of the strategy %q", want)
	is := func(s datastores.Strategy) bool { return s.Name == want || s.String() == want }
	if from.Tool != "" {
		takes, of = func(s datastores.Strategy) string { return s.Tool }, fmt.Sprintf("of the tool %q", from.Tool)
		is = func(s datastores.Strategy) bool { return s.Tool == from.Tool }
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, s := range all {
		if name := takes(s); name != "" {
			names = append(names, name)
		}
	}
	return datastores.Strategy{}, fault.Errorf(fault.BadRequest, "%s %s takes no backups %s; it takes: %s.", v.Datastore, v.Name, of, cmp.Or(strings.Join(names, ", "), "none"))
}

// parentOf reads the backup that an imported one builds on, which was brought in itself.
func parentOf(s etcdschema.Snapshot, b etcdschema.Backup) (etcdschema.Backup, error) {
	rec, err := etcdschema.Read(s, etcdschema.BackupKey(b.Project, b.Parent))
	parent, err := fault.Found(rec, err, "Backup", b.Parent)
	switch {
	case err != nil:
		return parent, err
	case parent.Deleting:
		return parent, fault.NotFound("Backup", b.Parent)
	case parent.Import == nil:
		return parent, fault.Errorf(fault.BadRequest, "Backup %s was not brought in: what is imported builds on imported backups alone.", b.Parent)
	case parent.Status != etcdschema.BackupCompleted:
		return parent, fault.Errorf(fault.Conflict, "Backup %s is not complete (%s), so nothing can be built on it.", b.Parent, parent.Status)
	case parent.Datastore != b.Datastore || parent.Version != b.Version || parent.Strategy != b.Strategy:
		return parent, fault.Errorf(fault.BadRequest, "Backup %s is of %s %s by %s, and one that builds on it must be, too.", b.Parent, parent.Datastore, parent.Version, parent.Strategy)
	}
	for n, up := 1, parent; up.Parent != ""; n++ {
		if n >= longestChain {
			return parent, fault.Errorf(fault.Unprocessable, "Backup %s is the last of %d that build on each other.", b.Parent, longestChain)
		}
		rec, err := etcdschema.Read(s, etcdschema.BackupKey(b.Project, up.Parent))
		if up, err = fault.Found(rec, err, "Backup", up.Parent); err != nil {
			return parent, err
		}
	}
	return parent, nil
}
