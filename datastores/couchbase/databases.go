package couchbase

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// bucket is a database, as the server tells of it.
type bucket struct {
	Name  string `json:"name"`
	Quota struct {
		Raw int64 `json:"rawRAM"` // bytes on each node
	} `json:"quota"`
	Replicas int `json:"replicaNumber"`
	Nodes    []struct {
		Status string `json:"status"`
	} `json:"nodes"`
	Stats struct {
		Used int64 `json:"dataUsed"`
	} `json:"basicStats"`
}

const buckets = "/pools/default/buckets"

// Names implements [datastores.Names], more narrowly than the documents: no name means something in a path or in a list of roles.
func (m *Manager) Names() datastores.NameRules {
	return datastores.NameRules{
		Database: `[A-Za-z0-9_][A-Za-z0-9_.%-]{0,99}`, User: `[A-Za-z0-9_][A-Za-z0-9_.@+~-]{0,127}`, Host: `%`, Password: `[ -~]{1,255}`,
	}
}

// CreateDatabase implements [datastores.Databases].
func (m *Manager) CreateDatabase(ctx context.Context, db datastores.Database) error {
	if db.CharacterSet != "" || db.Collate != "" {
		return datastores.Errorf(datastores.Invalid, "database %q: Couchbase knows no character sets and collations of buckets", db.Name)
	}
	replicas, err := m.replicas(ctx)
	if err != nil {
		return err
	}
	return m.createBucket(ctx, db.Name, int64(m.options.BucketMB), replicas)
}

// createBucket returns when all nodes serve the bucket.
func (m *Manager) createBucket(ctx context.Context, db string, mb int64, replicas int) error {
	err := m.call(ctx, "POST", buckets, url.Values{
		"name": {db}, "bucketType": {"couchbase"}, "storageBackend": {"couchstore"}, "ramQuota": {strconv.FormatInt(mb, 10)},
		"replicaNumber": {strconv.Itoa(replicas)}, "durabilityMinLevel": {m.options.Durability},
	}, nil)
	switch {
	case says(err, "already exists"):
		return datastores.Errorf(datastores.Exists, "database %q, or one whose name differs in case alone, exists", db)
	case says(err, "too large"):
		return datastores.Errorf(datastores.Conflict, "there is no memory for database %q, which takes %d MB of memoryQuota: delete one, or resize the instance", db, mb)
	case says(err, "more than"):
		return datastores.Errorf(datastores.Conflict, "the server takes no more databases")
	case isStatus(err, http.StatusServiceUnavailable):
		return datastores.Errorf(datastores.Unavailable, "no database can be made now: %v", err)
	case isStatus(err, http.StatusBadRequest):
		return datastores.Errorf(datastores.Invalid, "database %q cannot be made: %v", db, err)
	case err != nil:
		return err
	}
	return m.service.Await(ctx, func(ctx context.Context) error { return m.served(ctx, db) })
}

// replicas is how many copies a bucket has beside the first. With more than there are nodes for nothing durable could be written.
func (m *Manager) replicas(ctx context.Context) (int, error) {
	p, err := m.pool(ctx)
	nodes := 0
	for _, n := range p.Nodes {
		if n.Membership == active {
			nodes++
		}
	}
	return min(m.options.Replicas, max(nodes-1, 0)), err
}

// served fails while not all nodes serve a bucket: it is made after the server has answered.
func (m *Manager) served(ctx context.Context, db string) error {
	var b bucket
	if err := m.call(ctx, "GET", buckets+name(db), nil, &b); err != nil {
		return err
	}
	for _, n := range b.Nodes {
		if n.Status != healthy {
			return fmt.Errorf("a node of bucket %q is %s", db, n.Status)
		}
	}
	if len(b.Nodes) == 0 {
		return fmt.Errorf("no node has bucket %q yet", db)
	}
	return nil
}

func (m *Manager) buckets(ctx context.Context) (all []bucket, err error) {
	err = m.call(ctx, "GET", buckets, nil, &all)
	return all, err
}

// ListDatabases implements [datastores.Databases].
func (m *Manager) ListDatabases(ctx context.Context) (all []datastores.Database, err error) {
	list, err := m.buckets(ctx)
	for _, b := range list {
		all = append(all, datastores.Database{Name: b.Name})
	}
	return all, err
}

// DeleteDatabase implements [datastores.Databases]. First nobody may use it any more: a bucket of that name that is made later is another's.
func (m *Manager) DeleteDatabase(ctx context.Context, db string) error {
	users, err := m.accounts(ctx)
	if err != nil {
		return err
	}
	for _, u := range users {
		if slices.Contains(u.databases(), db) {
			if err := m.setRoles(ctx, u.Name, u.without(db)); err != nil {
				return err
			}
		}
	}
	err = m.call(ctx, "DELETE", buckets+name(db), nil, nil)
	switch {
	case isStatus(err, http.StatusNotFound):
		return datastores.Errorf(datastores.NotFound, "there is no database %q", db)
	case isStatus(err, http.StatusServiceUnavailable):
		return datastores.Errorf(datastores.Unavailable, "no database can be deleted now: %v", err)
	}
	return err
}

// checkDatabases returns NotFound for the first that there is not.
func (m *Manager) checkDatabases(ctx context.Context, wanted []string) error {
	list, err := m.buckets(ctx)
	if err != nil {
		return err
	}
	for _, db := range wanted {
		if !slices.ContainsFunc(list, func(b bucket) bool { return b.Name == db }) {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", db)
		}
	}
	return nil
}
