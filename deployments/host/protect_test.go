package host

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/deployments"
)

// TestProtect changes the rules of an instance, and nothing else: not the size that a resize has given it since its launch.
func TestProtect(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	args := request(0)
	inst, _ := launch(t, h, args)
	if _, err := h.Resize(t.Context(), deployments.ResizeArgs{InstanceID: inst.id, MemoryMB: 2 * args.MemoryMB}); err != nil {
		t.Fatal(err)
	}
	port := listen(t, args.Address)
	protect := func(rules deployments.Firewall) error {
		_, err := h.Protect(t.Context(), deployments.ProtectArgs{InstanceID: inst.id, Firewall: rules})
		return err
	}
	open := deployments.Firewall{TCPPorts: []string{"1024-65535"}}
	closed := open
	closed.Closed = true
	for _, rules := range []deployments.Firewall{closed, open} {
		if err := protect(rules); err != nil {
			t.Fatal(err)
		}
		if got := reaches(t, "127.0.0.1", port); got == rules.Closed {
			t.Errorf("%+v: reached: %t", rules, got)
		}
	}
	bad := open
	bad.Peers = []string{"everywhere"}
	wantKind(t, "bad rules", protect(bad), "invalid")

	want := args
	want.Token, want.Firewall, want.MemoryMB = "", open, 2*args.MemoryMB
	if diff := cmp.Diff(want, again(t, h).find(inst.id).rec.Launch); diff != "" {
		t.Error("(-want +got)\n", diff)
	}
	remove(t, h, inst.id)
	if err := protect(closed); err != nil {
		t.Error("after the remove:", err)
	}
}
