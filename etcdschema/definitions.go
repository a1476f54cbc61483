package etcdschema

import (
	"fmt"

	"github.com/google/uuid"
)

// idSpace is the namespace of the ids that are made of names. It must never change: clients keep the ids.
var idSpace = uuid.MustParse("6e0a1a52-5c1b-5d0e-9d0a-636f66666572")

// DatastoreID is the id of a datastore: the same on every gateway, and stored nowhere.
func DatastoreID(name string) string {
	return uuid.NewSHA1(idSpace, []byte("datastores/"+name)).String()
}

// VersionID is the id of a datastore version.
func VersionID(datastore, version string) string {
	return uuid.NewSHA1(idSpace, []byte("datastores/"+datastore+"/"+version)).String()
}

// Problems returns everything that is wrong with d.
func (d Datastore) Problems() []error {
	if d.DefaultVersion != "" && !ValidName(d.DefaultVersion) {
		return []error{fmt.Errorf("default_version: %q is no version's name; want 1 to 63 of a-z 0-9 . _ -", d.DefaultVersion)}
	}
	return nil
}

// Offered reports whether tenants may see the datastore.
func (d Datastore) Offered() bool { return d.Active == nil || *d.Active }

// Problems returns everything that is wrong with f.
func (f Flavor) Problems() []error {
	var problems []error
	if f.RAM < 1 {
		problems = append(problems, fmt.Errorf("ram: %d; want at least 1 MB", f.RAM))
	}
	if f.VCPUs < 1 {
		problems = append(problems, fmt.Errorf("vcpus: %d; want at least 1", f.VCPUs))
	}
	if f.Disk < 0 {
		problems = append(problems, fmt.Errorf("disk: %d; want GB, 0 or more", f.Disk))
	}
	return problems
}

// Problems returns everything that is wrong with q.
func (q Quota) Problems() []error {
	var problems []error
	for _, limit := range []struct {
		path string
		max  *int
	}{{"instances", q.Instances}, {"ram", q.RAM}, {"volumes", q.Volumes}, {"backups", q.Backups}, {"configurations", q.Configurations}, {"backup_gigabytes", q.BackupGB}, {"log_gigabytes", q.LogGB}, {"drills", q.Drills}, {"modules", q.Modules}} {
		if limit.max != nil && *limit.max < -1 {
			problems = append(problems, fmt.Errorf("%s: %d; want -1 for no limit, or 0 or more", limit.path, *limit.max))
		}
	}
	return problems
}
