package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestObjectives: what was measured is shown, what is missed is told and counted by every gateway, and when it is met again, that is told.
func TestObjectives(t *testing.T) {
	_, option := stored(t)
	etcd, g, _ := start(t, option)
	other := gatewaytest.Start(t, etcd.Store(t), option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", `,"databases":[{"name":"orders"}]`)
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id)
	show := func() gatewaytest.Answer { return c.Want(t, 200, http.MethodGet, at, "") }
	if a := show(); a.At("instance", "rpo") != nil || a.At("instance", "rto") != nil || a.At("instance", "objectives") != nil {
		t.Errorf("nothing was measured or asked: %s", a.Body)
	}
	for _, body := range []string{`{}`, `null`, `{"rpo":59}`, `{"rto":-1}`, `{"rpo":1e9}`, `{"rpo":"60"}`, `{"rpo":60,"x":1}`} {
		if a := c.Want(t, 400, http.MethodPatch, at, `{"instance":{"objectives":`+body+`}}`); !strings.Contains(string(a.Body), "objectives") {
			t.Errorf("%s: %s", body, a.Body)
		}
	}
	aged := func(of etcdschema.Key[etcdschema.Instance]) { // as if it had been made an hour ago
		store := etcd.Store(t)
		_, err := store.Update(t.Context(), []etcdschema.Ref{of}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
			rec, err := etcdschema.Read(s, of)
			rec.Value.Created = rec.Value.Created.Add(-time.Hour)
			return []etcdschema.Op{etcdschema.Put(of, rec.Value)}, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	aged(etcdschema.InstanceKey(gatewaytest.Project, id))
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"objectives":{"rpo":600,"rto":900}}}`)
	waitFor(t, func() bool { return show().At("instance", "objectives", "missed", "rpo") != nil })
	missing := func(n int) string { return fmt.Sprintf(`coffer_objectives_missed{objective="rpo"} %d`, n) }
	for _, one := range []*gatewaytest.Gateway{g, other} {
		if told := one.Metrics(t); !strings.Contains(told, missing(1)) {
			t.Errorf("a gateway does not count it")
		}
	}
	if why := c.Want(t, 200, http.MethodGet, at+"/why", ""); !strings.Contains(why.Text("why", "summary"), "There is no good backup of the instance") {
		t.Errorf("why: %s", why.Body)
	}
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"objectives":{"rto":60}}}`) // the other one stays
	backUp(t, c, id, "")
	waitFor(t, func() bool { return show().At("instance", "objectives", "missed", "rpo") == nil })
	a := show()
	if a.Text("instance", "rpo", "by") != "backup" || a.Text("instance", "rpo", "backup_id") == "" || a.At("instance", "rpo", "seconds").(float64) > 300 ||
		a.At("instance", "objectives", "rpo") != 600.0 || a.At("instance", "objectives", "rto") != 60.0 {
		t.Errorf("with a backup: %s", a.Body)
	}
	until.True(t, soon, "it is counted no more", func() bool { return strings.Contains(other.Metrics(t), missing(0)) })
	if a := c.Want(t, 200, http.MethodGet, at+"/events", ""); !strings.Contains(string(a.Body), "There is no good backup") || !strings.Contains(string(a.Body), "meets its rpo again") {
		t.Errorf("the timeline: %s", a.Body)
	}
	is, _ := drill(t, c, id, "")
	awaitDrill(t, c, id, is)
	if a := show(); a.Text("instance", "rto", "by") != "drill" || a.Text("instance", "rto", "drill_id") != is || a.At("instance", "rto", "seconds") == nil {
		t.Errorf("after a drill: %s", a.Body)
	}
	backup := show().Text("instance", "rpo", "backup_id")
	made := c.Create(t, "again", fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, backup))
	c.Await(t, made, "ACTIVE", soon)
	if a := show(); a.Text("instance", "rto", "by") != "restore" || a.Text("instance", "rto", "backup_id") != backup {
		t.Errorf("after a restore: %s", a.Body)
	}
	if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(made), ""); a.At("instance", "rpo") != nil || a.At("instance", "rto") != nil {
		t.Errorf("of the restored one itself nothing is kept: %s", a.Body)
	}
	c.Want(t, 202, http.MethodDelete, at, "")
	c.AwaitGone(t, id, soon)
	waitFor(t, func() bool {
		return len(etcd.All(t, "/server/objectives/")) == 0 && len(etcd.All(t, "/server/due/objectives/")) == 0
	})
}

// TestObjectivesOfALog: a log that is shipped is as old as its shipping takes, however long nothing is written.
func TestObjectivesOfALog(t *testing.T) {
	_, option := stored(t)
	_, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", rpo3)
	c.Await(t, id, "ACTIVE", soon)
	restorable(t, c, id, 1)
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id)
	c.Want(t, 202, http.MethodPost, at+"/databases", `{"databases":[{"name":"orders"}]}`)
	waitFor(t, func() bool {
		a := c.Want(t, 200, http.MethodGet, at, "")
		seconds, _ := a.At("instance", "rpo", "seconds").(float64)
		return a.Text("instance", "rpo", "by") == "log" && seconds > 0 && seconds < 600
	})
}
