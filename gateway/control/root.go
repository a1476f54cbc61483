package control

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

// EnableRoot lets root in, with a password of the caller's or with a new one. The password goes to the guest sealed, is returned, and is
// stored nowhere. failed are the replicas that could not be told.
func (cp *Plane) EnableRoot(ctx context.Context, c Caller, id string, wanted *string) (name, password string, failed []string, err error) {
	password = plan.NewPassword()
	if wanted != nil {
		password = *wanted
		if err := CheckPassword("root", password, NameRules{}); err != nil {
			return "", "", nil, err
		}
	}
	var root datastores.RootReply
	args := datastores.RootArgs{Password: datastores.NewSecret(password).ForSealing()}
	failed, err = cp.CallSet(ctx, c, id, datastores.MethodEnableRoot, args, &root)
	return root.Name, password, failed, err
}

// DisableRoot shuts root out. failed are the replicas that could not be told.
func (cp *Plane) DisableRoot(ctx context.Context, c Caller, id string) (failed []string, err error) {
	in, err := cp.Instance(ctx, c, id)
	if err == nil && in.RootEnabledAt.IsZero() {
		err = fault.Errorf(fault.ItemNotFound, "Root was never enabled on instance %s.", in.ID)
	}
	if err != nil {
		return nil, err
	}
	return cp.CallSet(ctx, c, id, datastores.MethodDisableRoot, nil, nil)
}
