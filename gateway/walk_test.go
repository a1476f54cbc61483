package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/api"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/keyring"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

var update = flag.Bool("update", false, "write docs/states.md anew")

// walkCalls are all that a tenant can ask of an instance: :id stands for it.
var walkCalls = []struct{ head, method, path, body string }{
	{"show", http.MethodGet, "/instances/:id", ""},
	{"why", http.MethodGet, "/instances/:id/why", ""},
	{"events", http.MethodGet, "/instances/:id/events", ""},
	{"rename", http.MethodPut, "/instances/:id", `{"instance":{"name":"walk"}}`},
	{"access", http.MethodPut, "/instances/:id", `{"instance":{"access":{"is_public":false,"allowed_cidrs":["10.0.0.0/8"]}}}`},
	{"attach group", http.MethodPut, "/instances/:id", `{"instance":{"configuration":"` + walkGroup + `"}}`},
	{"detach group", http.MethodPatch, "/instances/:id", `{"instance":{"configuration":null}}`},
	{"patch group", http.MethodPatch, "/configurations/" + walkGroup, `{"configuration":{"values":{"strict":false}}}`},
	{"restart", http.MethodPost, "/instances/:id/action", `{"restart":{}}`},
	{"resize volume", http.MethodPost, "/instances/:id/action", `{"resize":{"volume":{"size":2}}}`},
	{"resize flavor", http.MethodPost, "/instances/:id/action", `{"resize":{"flavorRef":"2"}}`},
	{"same flavor", http.MethodPost, "/instances/:id/action", `{"resize":{"flavorRef":"1"}}`},
	{"upgrade", http.MethodPatch, "/instances/:id", `{"instance":{"datastore_version":"2"}}`},
	{"maintenance window", http.MethodPatch, "/instances/:id", `{"instance":{"maintenance_window":{"days":["sun"],"start":"02:30","duration_minutes":60}}}`},
	{"begin maintenance", http.MethodPost, "/instances/:id/action", `{"begin_maintenance":{}}`},
	{"cancel maintenance", http.MethodPost, "/instances/:id/action", `{"cancel_maintenance":{}}`},
	{"detach replica", http.MethodPut, "/instances/:id", `{"instance":{"replica_of":null}}`},
	{"promote", http.MethodPost, "/instances/:id/action", `{"promote_to_replica_source":{}}`},
	{"eject", http.MethodPost, "/instances/:id/action", `{"eject_replica_source":{}}`},
	{"follow", http.MethodPost, "/instances/:id/action", `{"follow":{}}`},
	{"reset status", http.MethodPost, "/instances/:id/action", `{"reset_status":{}}`},
	{"make replica", http.MethodPost, "/instances", `{"instance":{"name":"r","replica_of":":id"}}`},
	{"begin drill", http.MethodPost, "/instances/:id/drills", `{"drill":{}}`}, // before there is a backup, for the end of which nobody waits here
	{"backup", http.MethodPost, "/backups", `{"backup":{"name":"b","instance":":id"}}`},
	{"list backups", http.MethodGet, "/instances/:id/backups", ""},
	{"list drills", http.MethodGet, "/instances/:id/drills", ""},
	{"show restorable", http.MethodGet, "/instances/:id/restorable", ""},
	{"defaults", http.MethodGet, "/instances/:id/configuration", ""},
	{"list modules", http.MethodGet, "/instances/:id/modules", ""},
	{"apply module", http.MethodPost, "/instances/:id/modules", `{"modules":[{"id":"` + walkModule + `"}]}`},
	{"remove module", http.MethodDelete, "/instances/:id/modules/" + walkModule, ""},
	{"list logs", http.MethodGet, "/instances/:id/log", ""},
	{"enable log", http.MethodPost, "/instances/:id/log", `{"name":"general","enable":1}`},
	{"show log", http.MethodGet, "/instances/:id/log/general", ""},
	{"make databases", http.MethodPost, "/instances/:id/databases", `{"databases":[{"name":"orders"}]}`},
	{"list databases", http.MethodGet, "/instances/:id/databases", ""},
	{"show database", http.MethodGet, "/instances/:id/databases/orders", ""},
	{"delete database", http.MethodDelete, "/instances/:id/databases/orders", ""},
	{"make users", http.MethodPost, "/instances/:id/users", `{"users":[{"name":"bob","password":"s3cret"}]}`},
	{"set passwords", http.MethodPut, "/instances/:id/users", `{"users":[{"name":"bob","password":"s3cret"}]}`},
	{"list users", http.MethodGet, "/instances/:id/users", ""},
	{"change users", http.MethodPost, "/instances/:id/users/bob", `{"users":[{"name":"bob","password":"s3cret"}]}`},
	{"show user", http.MethodGet, "/instances/:id/users/bob", ""},
	{"change user", http.MethodPut, "/instances/:id/users/bob", `{"user":{"password":"s3cret"}}`},
	{"delete user", http.MethodDelete, "/instances/:id/users/bob", ""},
	{"list access", http.MethodGet, "/instances/:id/users/bob/databases", ""},
	{"grant", http.MethodPut, "/instances/:id/users/bob/databases", `{"databases":[{"name":"orders"}]}`},
	{"revoke", http.MethodDelete, "/instances/:id/users/bob/databases/orders", ""},
	{"show root", http.MethodGet, "/instances/:id/root", ""},
	{"enable root", http.MethodPost, "/instances/:id/root", `{"password":"s3cret"}`},
	{"disable root", http.MethodDelete, "/instances/:id/root", ""},
	{"show ssl", http.MethodGet, "/instances/:id/ssl", ""},
	{"enable ssl", http.MethodPost, "/instances/:id/ssl", `{"ssl":{"enable":true}}`},
	{"show ca", http.MethodGet, "/instances/:id/ca", ""},
	{"delete", http.MethodDelete, "/instances/:id", ""}, // the last: it takes the guest's record away
}

// yes does all that it is asked for at once, as a guest and as a host.
type yes struct{}

func (yes) Method(string) (agent.Traits, bool) { return agent.Traits{Reads: true}, true }

func (yes) Run(_ context.Context, cmd agent.Command) (json.RawMessage, error) {
	switch cmd.Method {
	case datastores.MethodGetUser:
		return json.RawMessage(`{"name":"bob","host":"%"}`), nil
	case datastores.MethodModules:
		var args datastores.ModulesArgs
		if err := json.Unmarshal(cmd.Args, &args); err != nil {
			return nil, err
		}
		var reply datastores.ModulesReply
		for _, m := range slices.Concat(args.Remove, args.Apply) {
			reply.Modules = append(reply.Modules, datastores.ModuleState{ID: m.ID, Type: m.Type, MD5: m.MD5, Status: datastores.ModuleOK, Removed: m.MD5 == ""})
		}
		return json.Marshal(reply)
	case datastores.MethodCreateBackup:
		var args datastores.BackupArgs
		if err := json.Unmarshal(cmd.Args, &args); err != nil {
			return nil, err
		}
		return json.Marshal(datastores.BackupResult{BackupRef: datastores.BackupRef{BackupID: args.BackupID, Segments: 1}})
	case deployments.MethodCheck:
		var args deployments.CheckArgs
		if err := json.Unmarshal(cmd.Args, &args); err != nil {
			return nil, err
		}
		reply := deployments.CheckReply{Verdicts: map[string]datastores.Verdict{}}
		for _, d := range args.Definitions {
			reply.Verdicts[d.ID()] = datastores.Verdict{}
		}
		return json.Marshal(reply)
	case deployments.MethodProtect:
		return json.Marshal(deployments.ProtectReply{})
	case deployments.MethodLaunch:
		return json.Marshal(deployments.LaunchReply{})
	}
	return json.RawMessage(`{}`), nil
}

// removing is the state of an instance that its host, which is away, was told to remove.
const removing = "delete: remove"

// walk is a gateway with the instances of all states.
type walk struct {
	store  *etcdschema.Store
	keys   *keyring.Keyring
	client gatewaytest.Client
}

func startWalk(t *testing.T) *walk {
	store := etcdtest.New(t)
	gatewaytest.Define(t, store)
	g := gatewaytest.Start(t, store, many)
	if err := g.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Parse(gatewaytest.Keys)
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{store: store, keys: keys, client: g.Client(gatewaytest.Member)}
	gatewaytest.Agents(t, store, agentpoll.Host, yes{}, []string{walkHost}, g.URL)
	var guests []string
	for n, st := range stands() {
		s := st.build(n)
		w.put(t, s)
		if st.alone {
			w.leave(t, s.it.ID)
		}
		for _, in := range []etcdschema.Instance{s.it, s.source, s.other} {
			if in.ID != "" && !st.alone {
				guests = append(guests, in.ID)
			}
		}
	}
	gatewaytest.Agents(t, store, agentpoll.Guest, yes{}, guests, g.URL)
	until.True(t, soon, "all guests poll", func() bool { return g.Polls().Parked == len(guests)+1 })
	return w
}

// leave has a guest be gone.
func (w *walk) leave(t *testing.T, id string) {
	t.Helper()
	gone := etcdschema.Presence{Since: time.Now().Add(-time.Hour).UTC(), Judged: time.Now().Add(-time.Hour).UTC()}
	_, err := w.store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Put(etcdschema.PresenceKey(id), gone)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a state's records as they are to be, and takes back whatever an earlier call has asked its agents for.
func (w *walk) put(t *testing.T, s set3) {
	t.Helper()
	if op := s.it.Operation; op != nil && op.Former != nil { // its guest is the same at both places
		agent, err := etcdschema.Get(t.Context(), w.store, etcdschema.AgentKey(s.it.ID))
		if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
			t.Fatal(err)
		}
		op.Former.Agent = agent.Value
	}
	group := etcdschema.Configuration{
		ID: walkGroup, Project: gatewaytest.Project, Name: "group", Datastore: "memory", Version: "1", Values: datastores.Values{"strict": true},
		Instances: []string{s.it.ID},
	}
	module := etcdschema.Module{ID: walkModule, Project: gatewaytest.Project, Name: "module", Type: "ping", MD5: "1"}
	s.it.Modules = []etcdschema.AppliedModule{{ID: walkModule, Type: "ping", MD5: "1", Status: datastores.ModuleOK}}
	ops := []etcdschema.Op{
		etcdschema.Put(etcdschema.ConfigurationKey(gatewaytest.Project, walkGroup), group),
		etcdschema.Put(module.Key(), module),
		plan.SealContents(w.keys, walkModule, []byte("x")),
		etcdschema.DeleteAll(etcdschema.Commands(walkHost)),
	}
	for _, in := range []etcdschema.Instance{s.it, s.source, s.other} {
		if in.ID != "" {
			ops = append(ops, etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in),
				etcdschema.Put(etcdschema.InstanceGuestKey(in.ID), json.RawMessage(`{"mount_point":"/data","release":1}`)),
				etcdschema.DeleteAll(etcdschema.Commands(in.ID)))
		}
	}
	ops = append(ops, etcdschema.DeleteAll(etcdschema.Sets(gatewaytest.Project)))
	if _, err := w.store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil }); err != nil {
		t.Fatal(err)
	}
	if s.set.ID == "" {
		return
	}
	ops = []etcdschema.Op{etcdschema.Put(etcdschema.SetKey(s.set.Project, s.set.ID), s.set)}
	if _, err := w.store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil }); err != nil {
		t.Fatal(err)
	}
}

func (w *walk) ask(t *testing.T, id, method, path, body string) gatewaytest.Answer {
	t.Helper()
	return w.client.Do(t, method, strings.ReplaceAll(path, ":id", id), strings.ReplaceAll(body, ":id", id))
}

// TestEveryStateTimesEveryCall asks an instance in each state for everything, and holds the answers against docs/states.md.
// Whatever is refused says what can be done instead, and whoever does that again and again comes to an instance that is well,
// or to none.
func TestEveryStateTimesEveryCall(t *testing.T) {
	w := startWalk(t)
	var doc bytes.Buffer
	head(&doc)
	for n, st := range stands() {
		s := st.build(n)
		fmt.Fprintf(&doc, "| %s ", st.name)
		w.put(t, s)
		fmt.Fprintf(&doc, "| %s ", w.ask(t, s.it.ID, http.MethodGet, "/instances/:id", "").Text("instance", "status"))
		for _, c := range walkCalls {
			w.put(t, s)
			a := w.ask(t, s.it.ID, c.method, c.path, c.body)
			fmt.Fprintf(&doc, "| %d ", a.Status)
			w.check(t, st.name, c.head, a)
		}
		doc.WriteString("|\n")
	}
	const file = "../docs/states.md"
	if *update {
		if err := os.WriteFile(file, doc.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := strings.Split(doc.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(wanted)) {
		if i >= len(got) || i >= len(wanted) || got[i] != wanted[i] {
			t.Errorf("docs/states.md, line %d:\n got %s\nwant %s", i+1, at(got, i), at(wanted, i))
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

func head(doc *bytes.Buffer) {
	doc.WriteString("# What can be asked of an instance, and when\n\n" +
		"<!-- Generated by a test: go test ./gateway -run TestEveryStateTimesEveryCall -update -->\n\n" +
		"Each line is a state that an instance can be in, with the status that clients see; each column a call, with the code of its\n" +
		"answer. States are what an operation has left behind, and the steps of each operation (gateway/lifecycle/table.go).\n" +
		"A 422 says what can be done instead: wait, `reset_status`, restart, detach, delete. Deleting is possible in every state\n" +
		"but for a source, whose 403 names its replicas. A group, a larger volume and a restart are taken of every instance that was\n" +
		"ready once and to which nothing is being done, whatever has failed.\n\n| state | status ")
	for _, c := range walkCalls {
		fmt.Fprintf(doc, "| %s ", c.head)
	}
	doc.WriteString("|\n|" + strings.Repeat("---|", len(walkCalls)+2) + "\n")
}

// check holds one answer against the rules.
func (w *walk) check(t *testing.T, state, call string, a gatewaytest.Answer) {
	t.Helper()
	message := a.Text("unprocessableEntity", "message")
	switch {
	case a.Status >= 500 && a.Status != http.StatusNotImplemented && a.Status != http.StatusServiceUnavailable:
		t.Errorf("%s, %s: %d %s", state, call, a.Status, a.Body)
	case a.Status == http.StatusUnprocessableEntity && strings.Contains(message, "not currently available"):
		if i := strings.Index(message, "). "); i < 0 || len(message) < i+10 {
			t.Errorf("%s, %s: the answer does not say what can be done: %s", state, call, message)
		}
	}
	heals := slices.Contains([]string{"attach group", "detach group", "restart", "resize volume"}, call)
	member := strings.Contains(string(a.Body), "part of a cluster") // of which the cluster is asked instead
	quiet := !member && !strings.HasPrefix(state, "failed: create") && (strings.HasPrefix(state, "failed: ") || strings.HasPrefix(state, "well") || strings.HasPrefix(state, "server "))
	if heals && quiet && a.Status != http.StatusAccepted {
		t.Errorf("%s, %s: %d %s", state, call, a.Status, a.Body)
	}
	if call == "delete" && a.Status != http.StatusAccepted && a.Status != http.StatusForbidden && !member {
		t.Errorf("%s cannot be deleted: %d %s", state, a.Status, a.Body)
	}
}

// settle waits until nothing is being done to the instance, or it is gone.
func (w *walk) settle(t *testing.T, s set3) (status string) {
	t.Helper()
	until.True(t, soon, "the operation ends", func() bool {
		a := w.ask(t, s.it.ID, http.MethodGet, "/instances/:id/why", "")
		status = a.Text("why", "status")
		return a.Status == http.StatusNotFound || a.Status == http.StatusOK && a.At("why", "operation") == nil
	})
	return status
}

// TestEveryStateLeadsOut follows the advice of the answers, from every state.
func TestEveryStateLeadsOut(t *testing.T) {
	w := startWalk(t)
	for n, st := range stands() {
		if st.alone || st.name == removing || st.cluster {
			continue // there is nobody to follow any advice, until the guest or the host is back; a cluster is asked for its members
		}
		t.Run(st.name, func(t *testing.T) {
			s := st.build(n)
			w.put(t, s)
			var said []string
			for range 6 {
				status, there := w.status(t, s)
				if !there || status == "ACTIVE" {
					return
				}
				said = append(said, status+": "+w.goOn(t, s))
			}
			t.Errorf("no way back:\n%s", strings.Join(said, "\n"))
		})
	}
}

func (w *walk) status(t *testing.T, s set3) (status string, there bool) {
	t.Helper()
	a := w.ask(t, s.it.ID, http.MethodGet, "/instances/:id", "")
	if a.Text("instance", "operating_status") != "" && a.Text("instance", "operating_status") != "HEALTHY" {
		return a.Text("instance", "operating_status"), true
	}
	return a.Text("instance", "status"), a.Status == http.StatusOK
}

// goOn does what the instance's why advises, and returns that.
func (w *walk) goOn(t *testing.T, s set3) string {
	t.Helper()
	why := w.ask(t, s.it.ID, http.MethodGet, "/instances/:id/why", "")
	advice := why.Text("why", "summary")
	if why.At("why", "operation") != nil || !strings.Contains(advice, "Nothing is being done.") || strings.HasSuffix(advice, "done.") {
		advice = w.ask(t, s.it.ID, http.MethodPost, "/instances/:id/action", `{"restart":{}}`).Text("unprocessableEntity", "message")
	}
	act := func(id, body string) { w.ask(t, id, http.MethodPost, "/instances/:id/action", body) }
	switch {
	case strings.Contains(advice, "reset_status of that instance"):
		lead := s.other.ID
		if op := s.set.Operation; op != nil {
			lead = op.Lead
		}
		act(lead, `{"reset_status":{}}`)
	case strings.Contains(advice, "reset_status"):
		act(s.it.ID, `{"reset_status":{}}`)
	case strings.Contains(advice, "detach it,"):
		w.ask(t, s.it.ID, http.MethodPut, "/instances/:id", `{"instance":{"replica_of":null}}`)
	case strings.Contains(advice, "restart it"), strings.Contains(advice, "take a restart"):
		act(s.it.ID, `{"restart":{}}`)
	case strings.Contains(advice, "delete it"):
		w.ask(t, s.it.ID, http.MethodDelete, "/instances/:id", "")
	}
	w.settle(t, s)
	return advice
}

// TestDeleteFromEveryState: deletes go through, from every state; of a source once its replicas are deleted.
func TestDeleteFromEveryState(t *testing.T) {
	w := startWalk(t)
	for n, st := range stands() {
		t.Run(st.name, func(t *testing.T) {
			s := st.build(n)
			w.put(t, s)
			a := w.ask(t, s.it.ID, http.MethodDelete, "/instances/:id", "")
			if a.Status == http.StatusForbidden && strings.Contains(a.Text("forbidden", "message"), s.other.ID) {
				w.client.Want(t, 202, http.MethodDelete, gatewaytest.Instance(s.other.ID), "")
				w.client.AwaitGone(t, s.other.ID, soon)
				a = w.ask(t, s.it.ID, http.MethodDelete, "/instances/:id", "")
			}
			if st.cluster { // the cluster goes as a whole
				if a.Status != http.StatusNotImplemented || !strings.Contains(string(a.Body), "cluster "+s.set.ID) {
					t.Errorf("a member's own answer: %d %s", a.Status, a.Body)
				}
				at := "/clusters/" + s.set.ID
				if a = w.client.Do(t, http.MethodDelete, at, ""); a.Status == http.StatusUnprocessableEntity && strings.Contains(string(a.Body), "force_delete") {
					a = w.client.Do(t, http.MethodPost, at, `{"reset-status":{"force_delete":true}}`)
				}
			}
			if a.Status != http.StatusAccepted {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			if st.name == removing {
				return
			}
			w.client.AwaitGone(t, s.it.ID, soon)
			if s.source.ID != "" {
				if source := w.client.Want(t, 200, http.MethodGet, gatewaytest.Instance(s.source.ID), ""); strings.Contains(string(source.Body), s.it.ID) {
					t.Errorf("its source still names it: %s", source.Body)
				}
			}
		})
	}
}

// TestTheWalkHasEveryRoute and every step, so that a new one is walked too.
func TestTheWalkHasEveryRoute(t *testing.T) {
	for _, r := range api.Routes() {
		path, ours := strings.CutPrefix(r.Path, "/v1.0/:project")
		if !ours || !strings.HasPrefix(path, "/instances/:id") {
			continue
		}
		pattern := strings.NewReplacer(":name", "orders", ":user", "bob", ":module", walkModule).Replace(path)
		if strings.Contains(path, "/log/") {
			pattern = "/instances/:id/log/general"
		}
		if !slices.ContainsFunc(walkCalls, func(c struct{ head, method, path, body string }) bool {
			return c.path == pattern && (c.method == r.Method || path == "/instances/:id" && c.method == http.MethodPut)
		}) {
			t.Errorf("the walk does not ask for %s %s", r.Method, r.Path)
		}
	}
	for _, row := range append(lifecycle.StepTable(), lifecycle.SetSteps()...) {
		if step := row.Step; step != lifecycle.Idle && !slices.ContainsFunc(stands(), func(st stand) bool { return strings.HasSuffix(st.name, ": "+string(step)) }) {
			t.Errorf("the walk has no state at step %q", row.Step)
		}
	}
}
