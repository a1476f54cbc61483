package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

func TestCheck(t *testing.T) {
	h := &Host{cfg: Config{Guests: t.TempDir()}.withDefaults(), root: os.Geteuid() == 0}
	h.processes, h.sandboxes.Host = processes{h}, h
	h.log, h.binaries = h.cfg.Log, &binaries{dir: h.cfg.Guests}
	link(t, h.cfg.Guests, "a-guest")
	link(t, h.cfg.Guests, "b-guest")
	silent := filepath.Join(h.cfg.Guests, "c-guest")
	write(t, silent, "#!/bin/sh\n[ $1 != describe ] || echo '{\"manager\":\"c\"}'\n")
	if err := os.Chmod(silent, 0o755); err != nil {
		t.Fatal(err)
	}
	before := h.inventory(nil, nil)
	if _, err := h.binaries.scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.inventory(h.binaries.managers(), nil) == before {
		t.Error("guests have come and the inventory is the same")
	}
	good := deployments.Definition{Manager: "a", Guest: []byte(`{}`)}
	bad := deployments.Definition{Manager: "a", Guest: []byte(`{"say":{"problems":["x: y"]}}`)}
	unable := deployments.Definition{Manager: "b", Guest: []byte(`{"say":{"program":{"path":"/no/such/program"}}}`)}
	reply, err := h.Check(t.Context(), deployments.CheckArgs{Definitions: []deployments.Definition{
		good, unable, bad, {Manager: "c", Guest: []byte(`{}`)}, {Manager: "d", Guest: []byte(`{}`)},
	}})
	want := map[string]datastores.Verdict{good.ID(): {}, bad.ID(): {Problems: []string{"x: y"}}, unable.ID(): {Unable: "its program program is not there, and no missing package brings it"}}
	if diff := cmp.Diff(want, reply.Verdicts); err != nil || diff != "" {
		t.Errorf("%v, verdicts (-want +got)\n%s", err, diff)
	}
	if spaced := (deployments.Definition{Manager: "a", Guest: []byte("{\n}\n")}); spaced.ID() != good.ID() {
		t.Error("spaces make another definition")
	}
	if good.ID() == bad.ID() || good.ID() == (deployments.Definition{Manager: "b", Guest: good.Guest}).ID() {
		t.Error("two definitions have one id")
	}
}
