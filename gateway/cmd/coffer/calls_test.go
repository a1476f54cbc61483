package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	instanceID = "0193a000-0000-7000-8000-000000000001"
	sourceID   = "0193a000-0000-7000-8000-000000000002"
	backupID   = "0193a000-0000-7000-8000-000000000003"
	groupID    = "0193a000-0000-7000-8000-000000000004"
)

// exchange is a request that must come, and its answer.
type exchange struct {
	request string // METHOD path, and the body when there is one
	status  int
	answer  string
}

// The answers that several commands ask for.
var (
	listed    = exchange{"GET /instances", 200, `{"instances":[{"id":"` + instanceID + `","name":"db"},{"id":"` + sourceID + `","name":"src"}]}`}
	flavors   = exchange{"GET /flavors", 200, `{"flavors":[{"str_id":"2","name":"small"}]}`}
	backups   = exchange{"GET /backups", 200, `{"backups":[` + nightly("COMPLETED") + `]}`}
	schedules = exchange{"GET /schedules", 200, `{"schedules":[` + planned + `]}`}
	groups    = exchange{"GET /configurations", 200, `{"configurations":[{"id":"` + groupID + `","name":"tuned","datastore_name":"mysql","datastore_version_name":"8.4"}]}`}
	shownIn   = exchange{"GET /configurations/" + groupID, 200, `{"configuration":` + tuned + `}`}
	rules     = exchange{"GET /datastores/mysql/versions/8.4/parameters", 200, `{"configuration-parameters":[{"name":"max_connections","type":"integer","min":1,"max":100000,"restart_required":false},{"name":"autocommit","type":"boolean"},{"name":"big","type":"integer","max":18446744073709551615,"restart_required":true}]}`}
	datastore = exchange{"GET /datastores/mysql", 200, `{"datastore":{"id":"d","name":"mysql","default_version":"v","versions":[{"id":"v","name":"8.4"}]}}`}
)

const planned = `{"id":"` + backupID + `","name":"nightly","instance_id":"` + instanceID + `","kind":"full","cron":"30 3 * * *","timezone":"Europe/Berlin",` +
	`"window_minutes":60,"full_every":7,"keep":7,"enabled":true,"next_run":"2026-11-30T02:30:00","last_run":{"planned":"2026-11-29T02:30:00","result":"completed"}}`

// replicated is a source with one replica.
var replicated = exchange{"GET /instances/" + sourceID, 200, `{"instance":{"id":"` + sourceID + `","replicas":[{"id":"` + instanceID + `"}]}}`}

// voted is an ejection up to where its vote has ended, and the replica has done whatever it had to.
func voted(fault string) []exchange {
	return []exchange{listed,
		{"GET /instances/" + sourceID + "/events", 200, `{"events":[]}`},
		replicated,
		{`POST /instances/` + sourceID + `/action {"eject_replica_source":{}}`, 202, ""},
		{"GET /instances/" + sourceID + "/why", 200, `{"why":{"status":"ERROR","fault":"` + fault + `"}}`},
		{"GET /instances/" + sourceID + "/events", 200, `{"events":[]}`},
		{"GET /instances/" + instanceID + "/events", 200, `{"events":[]}`},
		{"GET /instances/" + instanceID + "/why", 200, `{"why":{"status":"ACTIVE"}}`},
		{"GET /instances/" + instanceID + "/events", 200, `{"events":[]}`},
	}
}

const tuned = `{"id":"` + groupID + `","name":"tuned","datastore_name":"mysql","datastore_version_name":"8.4","datastore_version_id":"v","values":{"big":18446744073709551615},"instance_count":1,"created":"2026-01-02T03:04:05","updated":"2026-01-02T03:04:05"}`

func nightly(status string) string {
	return `{"id":"` + backupID + `","name":"nightly","instance_id":"` + instanceID + `","status":"` + status + `","size":0.25,"parent_id":null,"created":"2026-01-02T03:04:05","updated":"2026-01-02T03:04:05","datastore":{"type":"mysql","version":"8.4","version_id":"v"}}`
}

// calls are command lines, what must be asked of the gateway for them, and what must be printed.
var calls = []struct {
	line      string
	exchanges []exchange
	code      int
	prints    string
}{
	{"backup create db nightly --description daily", []exchange{listed,
		{`POST /backups {"backup":{"description":"daily","instance":"` + instanceID + `","name":"nightly"}}`, 202, `{"backup":` + nightly("NEW") + `}`},
	}, 0, "status     NEW"},
	{`schedule create db nightly --cron 30_3_*_*_* --timezone Europe/Berlin --keep 7`, []exchange{listed,
		{`POST /schedules {"schedule":{"cron":"30_3_*_*_*","instance":"` + instanceID + `","keep":7,"name":"nightly","timezone":"Europe/Berlin"}}`, 200, `{"schedule":` + planned + `}`},
	}, 0, "next run    2026-11-30T02:30:00"},
	{"schedule default nightly --every-hours 24", []exchange{
		{`POST /schedules {"schedule":{"default":true,"every_hours":24,"name":"nightly"}}`, 200, `{"schedule":{"id":"` + backupID + `","name":"nightly","instance_id":null,"scope":"project","default":true,"every_hours":24}}`},
	}, 0, "instance    every instance"},
	{"schedule update nightly --enabled=false --full-every 3", []exchange{schedules,
		{`PATCH /schedules/` + backupID + ` {"schedule":{"enabled":false,"full_every":3}}`, 200, `{"schedule":` + planned + `}`},
	}, 0, "when        30 3 * * * Europe/Berlin"},
	{"schedule list --instance db", []exchange{listed, {"GET /schedules?instance_id=" + instanceID, 200, `{"schedules":[` + planned + `]}`}}, 0, "nightly"},
	{"schedule run nightly", []exchange{schedules, {`POST /schedules/` + backupID + `/action {"run":{}}`, 202, ``}}, 0, "a run of nightly begins"},
	{"schedule delete nightly", []exchange{schedules, {"DELETE /schedules/" + backupID, 202, ``}}, 0, "nightly is deleted"},
	{"backup create db nightly --incremental --wait", []exchange{listed,
		{`POST /backups {"backup":{"incremental":1,"instance":"` + instanceID + `","name":"nightly"}}`, 202, `{"backup":` + nightly("NEW") + `}`},
		{"GET /backups/" + backupID, 200, `{"backup":` + nightly("BUILDING") + `}`},
		{"GET /backups/" + backupID, 503, `{"serviceUnavailable":{"code":503,"message":"a moment"}}`},
		{"GET /backups/" + backupID, 200, `{"backup":` + nightly("COMPLETED") + `}`},
	}, 0, "status     COMPLETED"},
	{"backup create db nightly --parent nightly --wait", []exchange{listed, backups,
		{`POST /backups {"backup":{"instance":"` + instanceID + `","name":"nightly","parent_id":"` + backupID + `"}}`, 202, `{"backup":` + nightly("BUILDING") + `}`},
		{"GET /backups/" + backupID, 200, `{"backup":` + nightly("FAILED") + `}`},
	}, 1, "coffer: backup nightly is failed"},
	{"backup list", []exchange{backups}, 0, "nightly  COMPLETED  0.25 GB  full  " + instanceID + "  mysql 8.4  2026-01-02T03:04:05"},
	{"backup list --instance db", []exchange{listed, {"GET /backups?instance_id=" + instanceID, 200, backups.answer}}, 0, "nightly"},
	{"backup list --all-projects", []exchange{{"GET /backups?all_projects=true", 200, backups.answer}}, 0, "CREATED  PROJECT"},
	{"backup show nightly -o json", []exchange{backups, {"GET /backups/" + backupID, 200, `{"backup":` + nightly("COMPLETED") + `}`}}, 0, `"version_id": "v"`},
	{"backup delete nightly", []exchange{backups, {"DELETE /backups/" + backupID, 202, ""}}, 0, "delete of nightly has begun"},
	{"backup cancel " + backupID, []exchange{{`POST /backups/` + backupID + `/action {"cancel":{}}`, 202, ""}}, 0, "cancelling"},
	{"backup cancel weekly", []exchange{backups}, 3, "there is no backup \"weekly\"; `coffer backup list`"},

	{"instance create new --datastore mysql --flavor small --size 2 --backup nightly --configuration tuned", []exchange{flavors, backups, groups,
		{`POST /instances {"instance":{"configuration":"` + groupID + `","datastore":{"type":"mysql","version":""},"flavorRef":"2","name":"new","restorePoint":{"backupRef":"` + backupID + `"},"volume":{"size":2}}}`, 200, `{"instance":{"id":"` + instanceID + `","name":"new","configuration":{"id":"` + groupID + `","name":"tuned"}}}`},
	}, 0, "configuration  tuned"},
	{"instance create new --replica-of src --replica-count 2", []exchange{listed,
		{`POST /instances {"instance":{"name":"new","replica_count":2,"replica_of":"` + sourceID + `"}}`, 200, `{"instance":{"id":"` + instanceID + `","replica_of":{"id":"` + sourceID + `"}}}`},
	}, 0, "replica of  " + sourceID},
	{"instance create new --replica-of src --flavor small", nil, 2, "a replica has its source's"},
	{"instance create new --flavor small --replica-count 2", nil, 2, "goes with --replica-of"},
	{"instance promote db", []exchange{listed, {`POST /instances/` + instanceID + `/action {"promote_to_replica_source":{}}`, 202, ""}}, 0, "promote of db has begun"},
	{"instance promote db --wait", []exchange{listed,
		{"GET /instances/" + instanceID + "/events", 200, `{"events":[]}`},
		{`POST /instances/` + instanceID + `/action {"promote_to_replica_source":{}}`, 202, ""},
		{"GET /instances/" + instanceID + "/why", 200, `{"why":{"status":"ACTIVE"}}`},
		{"GET /instances/" + instanceID + "/events", 200, `{"events":[]}`},
		{"GET /instances/" + instanceID, 200, `{"instance":{"id":"` + instanceID + `","replicas":[{"id":"` + sourceID + `"}]}}`},
		{"GET /instances/" + sourceID + "/events", 200, `{"events":[]}`},
		{"GET /instances/" + sourceID + "/why", 200, `{"why":{"status":"ERROR","fault":"permission denied. The action follow has it follow again"}}`},
		{"GET /instances/" + sourceID + "/events", 200, `{"events":[]}`},
	}, 1, sourceID + " does not follow it: following failed: permission denied. The action"},
	{"instance follow db --discard", []exchange{listed, {`POST /instances/` + instanceID + `/action {"follow":{"discard":true}}`, 202, ""}}, 0, "follow of db has begun"},
	{"instance eject src", []exchange{listed, replicated, {`POST /instances/` + sourceID + `/action {"eject_replica_source":{}}`, 202, ""}}, 0, "eject of src has begun"},
	{"instance eject src --wait", slices.Concat(voted("it is ejected; "+instanceID+" takes its place"), []exchange{
		{"GET /instances/" + instanceID, 200, `{"instance":{"id":"` + instanceID + `"}}`},
		{"GET /instances/" + instanceID, 200, `{"instance":{"id":"` + instanceID + `","replicas":[]}}`},
	}), 0, instanceID + " has taken the place of " + sourceID},
	{"instance eject src --wait", slices.Concat(voted("no replica could be asked how far it has come"), []exchange{
		{"GET /instances/" + instanceID, 200, `{"instance":{"id":"` + instanceID + `","replica_of":{"id":"` + sourceID + `"}}}`},
	}), 1, "eject failed: no replica could be asked"},
	{"host show rack1", []exchange{{"GET /mgmt/hosts", 200, `{"hosts":[{"id":"h1","name":"rack1","connected":true,"managers":["mysql"],"instances":["a"],"serves":["mysql 8.4"],"cannot_serve":{"valkey 8":"no package"}}]}`}}, 0, "valkey 8: no package"},
	{"instance show db", []exchange{listed, {"GET /instances/" + instanceID, 200, `{"instance":{"id":"` + instanceID + `","warning":"The volume is nearly full."}}`}}, 0, "warning    The volume is nearly full."},
	{"instance detach-replica db", []exchange{listed, {`PUT /instances/` + instanceID + ` {"instance":{"replica_of":null}}`, 202, ""}}, 0, "detach of db has begun"},
	{"instance protect db", []exchange{listed, {`PUT /instances/` + instanceID + ` {"instance":{"deletion_protection":true}}`, 202, ""}}, 0, "db is protected from deletion"},
	{"instance pitr on db --rpo 10", []exchange{listed, {`PUT /instances/` + instanceID + ` {"instance":{"pitr":{"enabled":true,"rpo":10}}}`, 202, ""}}, 0, "the log of db is shipped"},
	{"instance pitr off db", []exchange{listed, {`PUT /instances/` + instanceID + ` {"instance":{"pitr":{"enabled":false}}}`, 202, ""}}, 0, "is not shipped any more"},
	{"instance objectives db --rpo 26h --rto 0", []exchange{listed, {`PUT /instances/` + instanceID + ` {"instance":{"objectives":{"rpo":93600,"rto":0}}}`, 202, ""}}, 0, "it is told when db misses what is asked"},
	{"instance objectives db", nil, 2, "say --rpo or --rto"},
	{"instance show db", []exchange{listed, {"GET /instances/" + instanceID, 200, `{"instance":{"id":"` + instanceID + `","rto":{"seconds":41.5,"measured_at":"2026-01-02T03:04:05","by":"drill"},"objectives":{"rpo":60,"missed":{"rpo":"There is no good backup"}}}}`}}, 0, "missed     There is no good backup"},
	{"instance show db", []exchange{listed, {"GET /instances/" + instanceID, 200, `{"instance":{"id":"` + instanceID + `","connections":{"primary":"sql://10.0.0.1:5432/?target=read-write"}}}`}}, 0, "connect to primary  sql://10.0.0.1:5432/?target=read-write"},
	{"instance restorable db", []exchange{listed, {`GET /instances/` + instanceID + `/restorable`, 200, `{"restorable":{"windows":[{"from":"2026-11-29T12:00:00.000001Z","until":"2026-11-29T13:00:00.500000Z","until_position":"0/16B3748","backups":["b"],"open":false,"closed_reason":"it was turned off","log_bytes":1073741824}]}}`}}, 0, "no: it was turned off"},
	{"drill run db --latest --wait", []exchange{listed,
		{`POST /instances/` + instanceID + `/drills {"drill":{"latest":true}}`, 202, `{"drill":{"id":"d","instance_id":"` + instanceID + `","result":"running"}}`},
		{`GET /instances/` + instanceID + `/drills`, 200, `{"drills":[{"id":"d","instance_id":"` + instanceID + `","result":"failed","reason":"the backup is damaged"}]}`},
	}, 1, "the drill failed: the backup is damaged"},
	{"drill run db --answer-file x", []exchange{listed}, 2, "go with --query-file"},
	{"drill list db", []exchange{listed, {`GET /instances/` + instanceID + `/drills`, 200, `{"drills":[{"id":"d","backup_id":"b","result":"passed","restore_seconds":12.3,"check":{"by":"SCAN","objects":7,"unit":"keys"}}]}`}}, 0, "passed  12.3 s       7 keys by SCAN"},
	{"drill show db e", []exchange{listed, {`GET /instances/` + instanceID + `/drills`, 200, `{"drills":[]}`}}, 3, "coffer drill list"},
	{"instance failover db automatic --grace 10 --degrade never", []exchange{listed, {`PUT /instances/` + instanceID + ` {"instance":{"failover":{"degrade":"never","grace_seconds":10,"mode":"automatic"}}}`, 202, ""}}, 0, "failover of db is automatic"},
	{"instance unprotect db", []exchange{listed, {`PUT /instances/` + instanceID + ` {"instance":{"deletion_protection":false}}`, 202, ""}}, 0, "db can be deleted"},
	{"instance delete db --final-backup last", []exchange{listed, {`DELETE /instances/` + instanceID + `?final_backup=last`, 202, `{"backup":` + nightly("NEW") + `}`}}, 0, "delete of db has begun"},
	{"instance delete db --final-backup last --wait", []exchange{listed,
		{"GET /instances/" + instanceID + "/events", 200, `{"events":[]}`},
		{`DELETE /instances/` + instanceID + `?final_backup=last`, 202, `{"backup":` + nightly("NEW") + `}`},
		{"GET /instances/" + instanceID + "/why", 200, `{"why":{"status":"BACKUP","operation":"backup"}}`},
		{"GET /instances/" + instanceID + "/events", 200, `{"events":[]}`},
		{"GET /instances/" + instanceID + "/why", 404, `{"itemNotFound":{"code":404,"message":"gone"}}`},
	}, 0, "the instance has been deleted"},
	{"instance delete db --final-backup last --wait", []exchange{listed,
		{"GET /instances/" + instanceID + "/events", 200, `{"events":[]}`},
		{`DELETE /instances/` + instanceID + `?final_backup=last`, 202, `{"backup":` + nightly("NEW") + `}`},
		{"GET /instances/" + instanceID + "/why", 200, `{"why":{"status":"ACTIVE","fault":"the disk is full"}}`},
		{"GET /instances/" + instanceID + "/events", 200, `{"events":[]}`},
	}, 1, "the instance was not deleted: the disk is full"},
	{"instance resize db --flavor small", []exchange{listed, flavors, {`POST /instances/` + instanceID + `/action {"resize":{"flavorRef":"2"}}`, 202, ""}}, 0, "resize of db has begun"},
	{"instance resize db --volume 5", []exchange{listed, {`POST /instances/` + instanceID + `/action {"resize":{"volume":{"size":5}}}`, 202, ""}}, 0, "resize of db has begun"},
	{"instance resize db", []exchange{listed}, 2, "one of them"},
	{"instance upgrade db 9.0", []exchange{listed, {`PATCH /instances/` + instanceID + ` {"instance":{"datastore_version":"9.0"}}`, 202, ""}}, 0, "upgrade of db has begun"},

	{"configuration create tuned --datastore mysql max_connections=200 autocommit=true big=18446744073709551615 other=1", []exchange{datastore, rules,
		{`POST /configurations {"configuration":{"datastore":{"type":"mysql","version":"8.4"},"name":"tuned","values":{"autocommit":true,"big":18446744073709551615,"max_connections":200,"other":"1"}}}`, 200, `{"configuration":` + tuned + `}`},
	}, 0, "big        18446744073709551615"},
	{"configuration create tuned --datastore mysql --version 8.4 max_connections=many", []exchange{rules,
		{`POST /configurations {"configuration":{"datastore":{"type":"mysql","version":"8.4"},"name":"tuned","values":{"max_connections":"many"}}}`, 422, `{"unprocessableEntity":{"code":422,"message":"max_connections: many is not of type integer"}}`},
	}, 1, "coffer: max_connections: many is not of type integer"},
	{"configuration create tuned --datastore mysql --version 8.4 nonsense", []exchange{rules}, 2, "want PARAMETER=VALUE"},
	{"configuration create tuned a=1", nil, 2, "which --datastore?"},
	{"configuration list", []exchange{groups}, 0, "tuned  mysql 8.4"},
	{"configuration show tuned -o json", []exchange{groups, shownIn}, 0, `"big": 18446744073709551615`},
	{"configuration set tuned max_connections=300 --name t2", []exchange{groups, shownIn, rules,
		{`PUT /configurations/` + groupID + ` {"configuration":{"name":"t2","values":{"max_connections":300}}}`, 202, ""},
	}, 0, "changed"},
	{"configuration set tuned --description=", []exchange{groups, {`PUT /configurations/` + groupID + ` {"configuration":{"description":""}}`, 202, ""}}, 0, "changed"},
	{"configuration set tuned --clear", []exchange{groups, shownIn, {`PUT /configurations/` + groupID + ` {"configuration":{"values":{}}}`, 202, ""}}, 0, "changed"},
	{"configuration set tuned", []exchange{groups}, 2, "nothing to change"},
	{"configuration patch tuned max_connections=300", []exchange{groups, shownIn, rules,
		{`PATCH /configurations/` + groupID + ` {"configuration":{"values":{"max_connections":300}}}`, 200, ""},
	}, 0, "changed tuned"},
	{"configuration attach db tuned", []exchange{listed, groups, {`PUT /instances/` + instanceID + ` {"instance":{"configuration":"` + groupID + `"}}`, 202, ""}}, 0, "attached tuned"},
	{"configuration detach db", []exchange{listed,
		{"GET /instances/" + instanceID, 200, `{"instance":{"id":"` + instanceID + `","name":"db","configuration":{"id":"` + groupID + `","name":"tuned"}}}`},
		{`PUT /instances/` + instanceID + ` {"instance":{"configuration":null}}`, 202, ""},
	}, 0, "detached tuned from db"},
	{"configuration detach db", []exchange{listed, {"GET /instances/" + instanceID, 200, `{"instance":{"id":"` + instanceID + `","name":"db"}}`}}, 1, "db has no configuration group"},
	{"configuration instances tuned", []exchange{groups, {"GET /configurations/" + groupID + "/instances", 200, `{"instances":[{"id":"` + instanceID + `","name":"db"}]}`}}, 0, "db"},
	{"configuration delete tuned", []exchange{groups, {"DELETE /configurations/" + groupID, 400, `{"badRequest":{"code":400,"message":"attached to instances"}}`}}, 1, "attached to instances"},
	{"parameters mysql", []exchange{datastore, rules}, 0, "big              integer       18446744073709551615  yes"},
	{"parameters mysql 8.4 -o json", []exchange{rules}, 0, `"max": 100000`},

	{"log list db", []exchange{listed, {"GET /instances/" + instanceID + "/log", 200, `{"logs":[{"name":"general","type":"USER","status":"Partial","published":10,"pending":5,"container":null}]}`}}, 0, "general  USER  Partial  10         5"},
	{"log status db general", []exchange{listed, {`POST /instances/` + instanceID + `/log {"name":"general"}`, 200, `{"log":{"name":"general","type":"USER","status":"Ready","pending":5}}`}}, 0, "status     Ready"},
	{"log enable db general", []exchange{listed, {`POST /instances/` + instanceID + `/log {"enable":1,"name":"general"}`, 200, `{"log":{"name":"general","type":"USER","status":"Enabled"}}`}}, 0, "status     Enabled"},
	{"log disable db general", []exchange{listed, {`POST /instances/` + instanceID + `/log {"disable":1,"name":"general"}`, 200, `{"log":{"name":"general"}}`}}, 0, "general"},
	{"log publish db general", []exchange{listed, {`POST /instances/` + instanceID + `/log {"name":"general","publish":1}`, 200, `{"log":{"name":"general"}}`}}, 0, "general"},
	{"log discard db general", []exchange{listed, {`POST /instances/` + instanceID + `/log {"discard":1,"name":"general"}`, 200, `{"log":{"name":"general"}}`}}, 0, "general"},
	{"log show db general", []exchange{listed, {"GET /instances/" + instanceID + "/log/general", 200, "line one\nline two\n"}}, 0, "line one\nline two\n"},
	{"log show db none", []exchange{listed, {"GET /instances/" + instanceID + "/log/none", 404, `{"itemNotFound":{"code":404,"message":"there is no log none"}}`}}, 3, "coffer: there is no log none"},
}

// TestCalls holds what commands ask against the API.
func TestCalls(t *testing.T) {
	for _, c := range calls {
		t.Run(c.line, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				request := r.Method + " " + strings.TrimPrefix(r.URL.RequestURI(), "/v1.0/p1")
				if body, _ := io.ReadAll(r.Body); len(body) > 0 {
					request += " " + sorted(t, body)
				}
				asked = append(asked, request)
				if len(asked) > len(c.exchanges) {
					w.WriteHeader(http.StatusTeapot)
					return
				}
				w.WriteHeader(c.exchanges[len(asked)-1].status)
				fmt.Fprint(w, c.exchanges[len(asked)-1].answer)
			}))
			defer server.Close()
			env := map[string]string{"COFFER_ENDPOINT": server.URL + "/v1.0/p1", "COFFER_TOKEN": "t"}
			var out bytes.Buffer
			code := runAs(t, strings.Fields(c.line), &out, func(name string) string { return env[name] })
			if code != c.code || !strings.Contains(out.String(), c.prints) {
				t.Errorf("exit code %d, want %d; printed\n%s\nwant in it %q", code, c.code, out.String(), c.prints)
			}
			var want []string
			for _, e := range c.exchanges {
				want = append(want, e.request)
			}
			if diff := cmp.Diff(want, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// runAs is run, with less time between two looks.
func runAs(t *testing.T, args []string, out io.Writer, getenv func(string) string) int {
	a := &app{in: strings.NewReader(""), out: out, errs: out, getenv: getenv, poll: time.Millisecond}
	root := a.command()
	root.SetArgs(args)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return a.fail(root.ExecuteContext(ctx))
}

// sorted is JSON with its members in order, numbers as they are written.
func sorted(t *testing.T, body []byte) string {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Errorf("the body %s is no JSON", body)
	}
	b, _ := json.Marshal(v)
	return string(b)
}
