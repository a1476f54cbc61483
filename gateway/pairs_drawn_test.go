package gateway_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

var drawPairs = flag.Int("pairs", 8, "how many pairs of calls TestAnyTwoCallsAtOnce draws")

// changes are all calls that change something, of the instances, backup and group of a ring: :source and its :replica, a
// :backup of the source, and a :group that the source may have.
var changes = map[string]call{
	"restart":         {http.MethodPost, "/instances/:source/action", `{"restart":{}}`},
	"restart replica": {http.MethodPost, "/instances/:replica/action", `{"restart":{}}`},
	"grow":            {http.MethodPost, "/instances/:source/action", `{"resize":{"volume":{"size":2}}}`},
	"grow replica":    {http.MethodPost, "/instances/:replica/action", `{"resize":{"volume":{"size":2}}}`},
	"resize":          {http.MethodPost, "/instances/:source/action", `{"resize":{"flavorRef":"2"}}`},
	"resize replica":  {http.MethodPost, "/instances/:replica/action", `{"resize":{"flavorRef":"2"}}`},
	"upgrade":         {http.MethodPatch, "/instances/:source", `{"instance":{"datastore_version":"2"}}`},
	"access":          {http.MethodPut, "/instances/:source", `{"instance":{"access":{"is_public":false,"allowed_cidrs":["10.1.0.0/16"]}}}`},
	"rename":          {http.MethodPut, "/instances/:source", `{"instance":{"name":"other"}}`},
	"reset":           {http.MethodPost, "/instances/:source/action", `{"reset_status":{}}`},
	"delete":          {http.MethodDelete, "/instances/:source", ""},
	"delete replica":  {http.MethodDelete, "/instances/:replica", ""},
	"detach":          {http.MethodPut, "/instances/:replica", `{"instance":{"replica_of":null}}`},
	"promote":         {http.MethodPost, "/instances/:replica/action", `{"promote_to_replica_source":{}}`},
	"eject":           {http.MethodPost, "/instances/:source/action", `{"eject_replica_source":{}}`},
	"replica":         {http.MethodPost, "/instances", `{"instance":{"name":"r","replica_of":":source"}}`},
	"replica, group":  {http.MethodPost, "/instances", `{"instance":{"name":"r","replica_of":":source","configuration":":group"}}`},
	"create, group":   create(`"configuration":":group"`),
	"create, backup":  create(`"restorePoint":{"backupRef":":backup"}`),
	"create, access":  create(`"access":{"allowed_cidrs":["10.0.0.0/8"]}`),
	"attach group":    {http.MethodPut, "/instances/:source", `{"instance":{"configuration":":group"}}`},
	"attach, replica": {http.MethodPut, "/instances/:replica", `{"instance":{"configuration":":group"}}`},
	"detach group":    {http.MethodPut, "/instances/:source", `{"instance":{"configuration":null}}`},
	"patch group":     {http.MethodPatch, "/configurations/:group", `{"configuration":{"values":{"greeting":"patched"}}}`},
	"replace group":   {http.MethodPut, "/configurations/:group", `{"configuration":{"values":{"greeting":"replaced"}}}`},
	"delete group":    {http.MethodDelete, "/configurations/:group", ""},
	"backup":          {http.MethodPost, "/backups", `{"backup":{"name":"b","instance":":source"}}`},
	"backup replica":  {http.MethodPost, "/backups", `{"backup":{"name":"b","instance":":replica"}}`},
	"incremental":     {http.MethodPost, "/backups", `{"backup":{"name":"i","instance":":source","parent_id":":backup"}}`},
	"delete backup":   {http.MethodDelete, "/backups/:backup", ""},
	"make user":       {http.MethodPost, "/instances/:source/users", `{"users":[{"name":"eve","password":"s3cret"}]}`},
	"delete user":     {http.MethodDelete, "/instances/:source/users/carol", ""},
	"make database":   {http.MethodPost, "/instances/:source/databases", `{"databases":[{"name":"stock"}]}`},
	"delete database": {http.MethodDelete, "/instances/:source/databases/spare", ""},
	"enable root":     {http.MethodPost, "/instances/:source/root", ""},
	"disable root":    {http.MethodDelete, "/instances/:source/root", ""},
}

// ring is what a pair of changes is made to.
type ring struct {
	*arena
	ids       map[string]string // by the names in changes
	addresses map[string]string // of instances, by id
}

// TestAnyTwoCallsAtOnce draws pairs of calls and makes them together, through two gateways, with and without the group attached
// before. Whatever comes, no answer is a fault of the gateway, everything settles, nothing refers to what is not there, what is
// counted is there, every server has the values of its group or is said to need a restart, and sources alone take writes.
func TestAnyTwoCallsAtOnce(t *testing.T) {
	a := newArena(t)
	names, drawn := slices.Sorted(maps.Keys(changes)), 0
	rapid.Check(t, func(rt *rapid.T) {
		one, other := rapid.SampledFrom(names).Draw(rt, "one"), rapid.SampledFrom(names).Draw(rt, "other")
		attached := rapid.Bool().Draw(rt, "attached")
		if drawn++; drawn > *drawPairs {
			return
		}
		t.Run(strings.ReplaceAll(fmt.Sprintf("%s and %s, attached %t", one, other, attached), " ", "_"), func(t *testing.T) {
			a := *a
			a.T = t
			r := a.ring(attached)
			for i, got := range r.both(r.call(one), r.call(other), drawn%2) {
				if got.Status >= 500 || got.Status < 200 {
					t.Errorf("%s: %d %s", []string{one, other}[i], got.Status, got.Body)
				}
			}
			r.settle()
			r.serves()
			r.end()
		})
	})
}

func (a *arena) ring(attached bool) *ring {
	a.Helper()
	c := a.by[0]
	source := c.Create(a, "source", `,"databases":[{"name":"orders"},{"name":"spare"}],"users":[{"name":"bob","password":"s3cret","databases":[{"name":"orders"}]},{"name":"carol","password":"s3cret"}]`)
	r := &ring{a, map[string]string{":source": source, ":group": a.group()}, map[string]string{}}
	c.Await(a, source, "ACTIVE", soon)
	r.ids[":replica"] = c.Want(a, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, source)).Text("instance", "id")
	c.Await(a, r.ids[":replica"], "ACTIVE", soon)
	if attached {
		c.Want(a, 202, http.MethodPut, gatewaytest.Instance(source), fmt.Sprintf(`{"instance":{"configuration":%q}}`, r.ids[":group"]))
		c.Want(a, 202, http.MethodPost, gatewaytest.Instance(source)+"/action", `{"restart":{}}`)
	}
	c.Await(a, source, "ACTIVE", soon)
	r.ids[":backup"] = backUp(a.T, c, source, "").Text("backup", "id")
	c.Await(a, source, "ACTIVE", soon)
	return r
}

func (r *ring) call(name string) call {
	c := changes[name]
	for name, id := range r.ids {
		c.path, c.body = strings.ReplaceAll(c.path, name, id), strings.ReplaceAll(c.body, name, id)
	}
	return c
}

// serves holds every server against its record.
func (r *ring) serves() {
	r.Helper()
	groups := records(r.arena, etcdschema.AllConfigurations())
	sets := records(r.arena, etcdschema.AllSets())
	for id, in := range records(r.arena, etcdschema.AllInstances()) {
		if id == r.db {
			continue
		}
		want := "hello"
		if v, ok := groups[in.Configuration].Values["greeting"]; ok {
			want = fmt.Sprint(v)
		}
		if got := r.host.Memory.Parameter(in.Address, "greeting"); got != want && !in.RestartRequired {
			r.Errorf("instance %s (%s) greets with %s and needs no restart; its group says %s", id, in.Name, got, want)
		}
		if in.Name == "new" { // which has no user bob
			continue
		}
		n, err := r.host.Memory.Write(r.Context(), login(in.Address), 0, 1)
		role := sets[in.SetID].Member(id).Role
		if took := n == 1 && err == nil; took != (role != etcdschema.RoleReplica) {
			r.Errorf("instance %s (%s), %q of its set, takes writes: %t, %v", id, in.Name, role, took, err)
		}
	}
}

// end deletes everything that the pair has left; a source can be deleted when its replicas are gone.
func (r *ring) end() {
	r.Helper()
	if !until.Holds(soon, func() bool {
		left := 0
		for id := range records(r.arena, etcdschema.AllInstances()) {
			if id != r.db {
				left++
				r.by[0].Do(r, http.MethodDelete, gatewaytest.Instance(id), "")
			}
		}
		return left == 0
	}) {
		r.Errorf("what the pair left cannot be deleted")
	}
}
