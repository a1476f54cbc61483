package gateway

import (
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// joinConfiguration lists a new instance in the configuration group that it is made with.
func joinConfiguration(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	if in.Configuration == "" {
		return nil, nil
	}
	key := etcdschema.ConfigurationKey(in.Project, in.Configuration)
	rec, err := etcdschema.Read(s, key)
	if err != nil {
		return nil, err
	}
	if !rec.Found {
		return nil, faultf(badRequest, "Configuration %s cannot be found.", in.Configuration)
	}
	rec.Value.Instances = append(rec.Value.Instances, in.ID)
	return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
}

// mayFollow refuses a replica of an instance that cannot be a source now.
func mayFollow(s etcdschema.Snapshot, in etcdschema.Instance) error {
	if in.ReplicaOf == "" {
		return nil
	}
	rec, err := etcdschema.Read(s, etcdschema.InstanceKey(in.Project, in.ReplicaOf))
	source, err := mustFind(rec, err, "Instance", in.ReplicaOf)
	if err != nil {
		return err
	}
	if source.ReplicaOf != "" {
		return faultf(unauthorized, "Instance %s is a replica itself; replicate its source %s.", source.ID, source.ReplicaOf)
	}
	return lifecycle.Leads(source)
}
