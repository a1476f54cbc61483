package plan

import (
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// A source whose record was made before its version could do TLS has rules that let none in, whatever its guest reports today.
func TestSourceOfAnEarlierVersion(t *testing.T) {
	var in etcdschema.Instance
	in.Service.TLS = datastores.TLSBasic
	if sourceTakesTLS(in) {
		t.Error("a replica would follow it through a port that is closed")
	}
	in.Capabilities = []datastores.Capability{datastores.CanTLS}
	if !sourceTakesTLS(in) {
		t.Error("a replica would follow it without TLS")
	}
	in.Service.TLS = datastores.TLSOff
	if sourceTakesTLS(in) {
		t.Error("a replica would follow by TLS who speaks none")
	}
}

// TestReplicaPassword: MySQL refuses to follow with a longer one than of 32 characters.
func TestReplicaPassword(t *testing.T) {
	if one := replicaPassword(); len(one) != 32 || one == replicaPassword() {
		t.Errorf("a replica's password has %d characters, want 32, another each time", len(one))
	}
}
