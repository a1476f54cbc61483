package control

import (
	"context"
	"regexp"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

var containerName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}$`)

func checkContainer(name string) error {
	if !containerName.MatchString(name) {
		return fault.Errorf(fault.BadRequest, "Validation error: swift_container %q must be 1 to 63 of A-Z a-z 0-9 . _ - and not begin with a dot.", name)
	}
	return nil
}

// containerFor is where a backup goes: what the request says, else its instance's strategy, else the project's.
func (cp *Plane) containerFor(ctx context.Context, c Caller, asked, instance string) (string, error) {
	if asked != "" {
		return asked, checkContainer(asked)
	}
	for _, of := range []string{instance, ""} {
		rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.BackupStrategyKey(c.Project, of))
		if err == nil {
			return rec.Value.Container, nil
		}
		if !fault.IsNotFound(err) {
			return "", err
		}
	}
	return plan.DefaultContainer, nil
}

// BackupStrategyRequest says into which container backups go: an instance's, or with "" the project's.
type BackupStrategyRequest struct{ Container, Instance string }

// SetContainer says where backups of an instance or of the project go from now on.
func (cp *Plane) SetContainer(ctx context.Context, c Caller, want BackupStrategyRequest) error {
	if err := checkContainer(want.Container); err != nil {
		return err
	}
	if want.Instance != "" {
		if _, err := etcdschema.Get(ctx, cp.Store, etcdschema.InstanceKey(c.Project, want.Instance)); err != nil {
			return instanceError(err, want.Instance)
		}
	}
	key := etcdschema.BackupStrategyKey(c.Project, want.Instance)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Put(key, etcdschema.BackupStrategy{Container: want.Container})}, nil
	})
	return err
}

// UnsetContainer forgets what was said of an instance, or with "" of the project.
func (cp *Plane) UnsetContainer(ctx context.Context, project, instance string) error {
	key := etcdschema.BackupStrategyKey(project, instance)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Delete(key)}, nil
	})
	return err
}
