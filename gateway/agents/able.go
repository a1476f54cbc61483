package agents

import (
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// able takes out of a guest's status what its program can do. An instance gets what it could not do when it was made, or
// upgraded, as far as the definition of its version says today that its servers can: a guest that was taken over gets nothing by boasting.
func able(s etcdschema.Snapshot, in *etcdschema.Instance, status *datastores.Status) (changed bool, err error) {
	said := status.Able
	status.Able = nil
	if said == nil || !in.Prepared {
		return false, nil
	}
	more := slices.DeleteFunc(slices.Clone(said.Capabilities), func(c datastores.Capability) bool { return slices.Contains(in.Capabilities, c) })
	if len(more) == 0 {
		return false, nil
	}
	version, err := etcdschema.Read(s, etcdschema.VersionKey(in.Datastore, in.Version))
	if etcdschema.Unread(err) {
		return false, err
	}
	if err != nil || !version.Found { // an operator's record that cannot be read is no fault of the guest's
		return false, nil
	}
	is := slices.Clone(in.Capabilities)
	for _, c := range datastores.AllCapabilities() {
		if slices.Contains(more, c) && slices.Contains(version.Value.Capabilities, c) {
			is = append(is, c)
		}
	}
	changed = len(is) > len(in.Capabilities)
	in.Capabilities = is
	return changed, nil
}
