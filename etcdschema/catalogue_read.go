package etcdschema

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema/strict"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	datastoresPrefix      = ServerPrefix + "datastores/"
	guestDatastoresPrefix = GuestPrefix + "datastores/"
)

// CataloguePrefixes are where all lies that [Store.Catalogue] reads.
func CataloguePrefixes() []string {
	return []string{datastoresPrefix, guestDatastoresPrefix, HostChecks().path}
}

type versionName struct{ datastore, version string }

func (n versionName) keyOf(half string) string {
	if half == "guest" {
		return GuestOptionsKey(n.datastore, n.version).path
	}
	return VersionKey(n.datastore, n.version).path
}

// stored is a key as it stood at some revision; the zero value for one that was not there.
type stored struct {
	key     string
	value   []byte
	changed int64
}

func storedOf(kv *mvccpb.KeyValue) stored { return stored{string(kv.Key), kv.Value, kv.ModRevision} }

// halves are a definition's two: server, guest.
type halves [2]stored

// definitions is what lies under the two prefixes.
type definitions struct {
	records  map[string]stored
	versions map[versionName]halves
	checks   map[string]HostCheck
	strange  []Problem // keys that are none of the schema's
}

func gather(resp *clientv3.TxnResponse) definitions {
	d := definitions{records: map[string]stored{}, versions: map[versionName]halves{}, checks: map[string]HostCheck{}}
	for _, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().Kvs {
			d.add(storedOf(kv))
		}
	}
	return d
}

func (d *definitions) add(s stored) {
	if parts, ok := cut(hostCheckPattern, s.key); ok {
		if check, err := Decode[HostCheck](s.value); err == nil { // else it is as if the host had said nothing
			d.checks[parts[0]] = check
		}
		return
	}
	if parts, ok := cut(datastorePattern, s.key); ok {
		d.records[parts[0]] = s
		return
	}
	for i, pattern := range []string{versionPattern, guestOptionsPattern} {
		if parts, ok := cut(pattern, s.key); ok {
			name := versionName{parts[0], parts[1]}
			h := d.versions[name]
			h[i] = s
			d.versions[name] = h
			return
		}
	}
	d.strange = append(d.strange, Problem{Key: s.key, Message: "not a key of the schema; want …/<datastore> or " +
		"…/<datastore>/<version>, each 1 to 63 of a-z 0-9 . _ -, beginning with a letter or digit"})
}

// versionInForce judges a definition as it is now and, when that is bad, as it was before. A half that was deleted
// withdraws the version: nothing older stays in force. What a plug-in's own options may be its guest knows, so hosts have
// their say; c notes what they should be asked about.
func (s *Store) versionInForce(ctx context.Context, c *Catalogue, name versionName, now halves) (Version, bool, []Problem, error) {
	judged := func(h []stored) (Version, error) {
		v, err := s.judgeVersion(name, halves(h), now)
		if err != nil {
			return v, err
		}
		c.Definitions = append(c.Definitions, v.Definition())
		v.Unserved = unserved(c.Hosts, v.Definition())
		return v, strict.GuestProblems(problemsBy(c.Hosts, v.Definition()))
	}
	v, bad := judged(now[:])
	if bad == nil {
		return v, true, nil, nil
	}
	old, since, err := lastGood(ctx, s, now[:], judged)
	if err != nil {
		return v, false, nil, err
	}
	old.StaleSince = since
	return old, since != 0, problemsOf(bad, name, name.keyOf, since != 0), nil
}

// judgeVersion judges a definition by what can be told without its guest. That of now is remembered.
func (s *Store) judgeVersion(name versionName, h, now halves) (Version, error) {
	if v, known := s.judged.get(name, h); known {
		return v, nil
	}
	server, guest, err := strict.ReadVersion(h[0].value, h[1].value)
	v := Version{Datastore: name.datastore, Name: name.version, Server: server, Guest: guest}
	if err == nil && h[0].changed == now[0].changed && h[1].changed == now[1].changed {
		s.judged.put(name, h, v)
	}
	return v, err
}

// datastoreInForce does the same for the record of a datastore. When there is no good one left it is a zero record, so
// that its versions are offered all the same.
func (s *Store) datastoreInForce(ctx context.Context, name string, now stored) (Datastore, []Problem, error) {
	judged := func(h []stored) (Datastore, error) { return Decode[Datastore](h[0].value) }
	d, bad := judged([]stored{now})
	if bad == nil {
		return d, nil, nil
	}
	old, since, err := lastGood(ctx, s, []stored{now}, judged)
	keyOf := func(string) string { return now.key }
	return old, problemsOf(bad, versionName{datastore: name}, keyOf, since != 0), err
}

// maxHistory is how many changes of a bad definition are looked through for a good one.
const maxHistory = 16

// lastGood goes back from a bad definition, change by change, as far as etcd remembers all of its keys, to one that is
// good. It returns that one and the revision that ended it; 0 when there is none.
func lastGood[T any](ctx context.Context, s *Store, now []stored, judged func([]stored) (T, error)) (T, int64, error) {
	var zero T
	for range maxHistory {
		var since int64
		for _, key := range now {
			if key.changed == 0 {
				return zero, 0, nil
			}
			since = max(since, key.changed)
		}
		before, err := s.readBefore(ctx, since, now)
		if err != nil {
			return zero, 0, err
		}
		if good, err := judged(before); err == nil {
			return good, since, nil
		}
		now = before
	}
	return zero, 0, nil
}

// readBefore reads keys as they were just before a revision; zero for what was not there, or is forgotten.
func (s *Store) readBefore(ctx context.Context, revision int64, keys []stored) ([]stored, error) {
	before := make([]stored, len(keys))
	if revision <= 1 {
		return before, nil
	}
	ops := make([]clientv3.Op, len(keys))
	for i, k := range keys {
		ops[i] = clientv3.OpGet(k.key, clientv3.WithRev(revision-1))
	}
	resp, err := s.client.Txn(ctx).Then(ops...).Commit()
	if errors.Is(err, rpctypes.ErrCompacted) {
		return before, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read earlier definitions: %w", err)
	}
	for i := range keys {
		if found := resp.Responses[i].GetResponseRange().Kvs; len(found) > 0 {
			before[i] = storedOf(found[0])
		}
	}
	return before, nil
}

// compareVersions orders by version number, else by name.
func compareVersions(a, b Version) int {
	return cmp.Or(datastores.CompareVersions(cmp.Or(a.Server.VersionNumber, a.Name), cmp.Or(b.Server.VersionNumber, b.Name)), cmp.Compare(a.Name, b.Name))
}
