package etcdschema_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

// TestOutage asks of real errors whether etcd could serve nobody.
func TestOutage(t *testing.T) {
	etcd := etcdtest.Start(t)
	proxy := etcd.Proxy(t)
	store := etcdtest.Open(t, proxy.Endpoint())
	key := etcdschema.UsageKey("p1")
	read := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := etcdschema.Get(ctx, store, key)
		return err
	}
	write := func(value etcdschema.Usage, ops ...etcdschema.Op) error {
		_, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
			_, err := etcdschema.Read(s, key)
			return append(ops, etcdschema.Put(key, value)), err
		})
		return err
	}
	want := func(what string, err error, outage bool) {
		t.Helper()
		if err == nil || etcdschema.Outage(err) != outage {
			t.Errorf("%s: outage %t of %v", what, etcdschema.Outage(err), err)
		}
	}
	want("no such record", read(time.Minute), false)
	etcd.Put(t, key.String(), `{"v":99}`)
	want("a record of another format", write(etcdschema.Usage{}), false)
	etcd.Put(t, key.String(), `{"v":1`)
	want("a record that cannot be read", read(time.Minute), false)
	etcd.Delete(t, key.String())
	var many []etcdschema.Op
	for n := range 200 {
		many = append(many, etcdschema.Put(etcdschema.UsageKey(fmt.Sprint("p", n)), etcdschema.Usage{Instances: n}))
	}
	want("too many changes", write(etcdschema.Usage{Instances: 1}, many...), false)
	want("a bad key", func() error { _, err := etcdschema.Get(t.Context(), store, etcdschema.UsageKey("..")); return err }(), false)
	want("a decision's own error", func() error {
		_, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return nil, errors.New("no") })
		return err
	}(), false)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := etcdschema.Get(ctx, store, key)
	want("a caller that went away", err, false)

	proxy.Silence()
	want("an etcd that is silent", read(300*time.Millisecond), true)
	proxy.Flow()
	proxy.Cut()
	want("an etcd that is cut off", read(300*time.Millisecond), true)
	proxy.Mend()
	etcd.Stop(t)
	want("an etcd that was stopped", read(300*time.Millisecond), true)
}
