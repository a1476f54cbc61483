package mongodb

import (
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// TestTicket: what a source leaves for a replica opens with that replica's password alone.
func TestTicket(t *testing.T) {
	a := datastores.ReplicaAccount{ReplicaID: "1", User: "r", Password: datastores.NewSecret("secret")}
	want := ticket{"set", "key", "admin"}
	sealed, err := seal(a, want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unseal(a, sealed); err != nil || got != want {
		t.Errorf("unsealed: %+v, %v", got, err)
	}
	other, another := a, a
	other.Password, another.ReplicaID = datastores.NewSecret("else"), "2"
	for _, stranger := range []datastores.ReplicaAccount{other, another} {
		if got, err := unseal(stranger, sealed); err == nil {
			t.Errorf("a stranger reads %+v", got)
		}
	}
	if _, err := unseal(a, nil); err == nil {
		t.Error("nothing was unsealed")
	}
}

// TestConfiguration: an instance that has become smaller than a tenant's value gets a cache that fits.
func TestConfiguration(t *testing.T) {
	for _, c := range []struct {
		memoryMB int
		want     string
	}{
		{1024, "0.5"}, {256, "0.25"}, {0, "0.25"}, {4096, "2"},
	} {
		m := New(datastores.Env{MemoryMB: c.memoryMB}, DefaultOptions())
		if got := m.DefaultConfiguration()[cacheSize]; got != c.want {
			t.Errorf("%d MB: a cache of %s GB, want %s", c.memoryMB, got, c.want)
		}
	}
	m := New(datastores.Env{MemoryMB: 1024}, DefaultOptions())
	values := datastores.Values{}
	if err := values.UnmarshalJSON([]byte(`{"` + cacheSize + `": 3}`)); err != nil {
		t.Fatal(err)
	}
	if got := texts(m.configuration(values))[cacheSize]; got != "0.5" {
		t.Errorf("a cache of 3 GB in an instance of 1 GB has become %s", got)
	}
	if m.checkOverrides(values) == nil {
		t.Error("a cache of 3 GB in an instance of 1 GB is allowed")
	}
}
