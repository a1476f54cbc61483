package etcdschema_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/etcdschema"
)

func TestDecodeDefinitions(t *testing.T) {
	f, err := etcdschema.Decode[etcdschema.Flavor]([]byte("name: small\nram: 512\nvcpus: 1\ndisk: 5\n"))
	if want := (etcdschema.Flavor{Name: "small", RAM: 512, VCPUs: 1, Disk: 5}); err != nil || f != want {
		t.Errorf("flavor %+v, %v", f, err)
	}
	for value, want := range map[string]string{
		`{"name":"a","ram":0,"vcpus":0}`:   "ram: 0; want at least 1 MB; vcpus: 0",
		`{"name":"a","ram":"1","vcpus":1}`: "ram: is text; want a whole number",
		`{"ram":1,"vcpus":1,"disc":3}`:     "disc: unknown option; allowed: name, ram, vcpus, disk",
	} {
		if _, err := etcdschema.Decode[etcdschema.Flavor]([]byte(value)); err == nil || err.Error()[:min(len(want), len(err.Error()))] != want {
			t.Errorf("flavor %s: %v; want %q", value, err, want)
		}
	}
	q, err := etcdschema.Decode[etcdschema.Quota]([]byte(`{"instances":0,"ram":-1}`))
	zero, none := 0, -1
	if diff := cmp.Diff(etcdschema.Quota{Instances: &zero, RAM: &none}, q); diff != "" || err != nil {
		t.Errorf("quota (-want +have): %s %v", diff, err)
	}
	if _, err := etcdschema.Decode[etcdschema.Datastore]([]byte("default_version: No Name")); err == nil {
		t.Error("a bad default version passes")
	}
}

func TestIDsNeverChange(t *testing.T) {
	if id := etcdschema.DatastoreID("redis"); id != "3d9d9e31-d0a6-5784-87e6-ed042a7ad309" {
		t.Errorf("redis has id %s", id)
	}
	if id := etcdschema.VersionID("redis", "7.0"); id != "fd428d47-c089-52d9-b5ba-2abf3f0add5a" {
		t.Errorf("redis 7.0 has id %s", id)
	}
}

const (
	goodServer = `{"manager":"redis","capabilities":["root"],"tcp_ports":[6379,"21100-21199"]}`
	goodGuest  = `{"mount_point":"/var/lib/redis","maxmemory_percent":75}`
)
