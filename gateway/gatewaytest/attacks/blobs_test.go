package attacks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// put sends a segment or chunk as an agent does.
func (r rogue) put(t *testing.T, path string, size int) (status int) {
	t.Helper()
	body := make([]byte, size)
	sum := sha256.Sum256(body)
	status, _ = r.send(t, http.MethodPut, path, body, http.Header{http.CanonicalHeaderKey(agentpoll.HeaderSHA256): {hex.EncodeToString(sum[:])}})
	return status
}

// TestH6LogsOfAnyNameAtAnyTime puts chunks of logs that nobody has asked the guest for.
func TestH6LogsOfAnyNameAtAnyTime(t *testing.T) {
	s := newScene(t)
	r := rogueGuest(t, s)
	for n, path := range []string{"/agent/v1/logs/general/chunks/1", "/agent/v1/logs/x1/chunks/99999999", "/agent/v1/logs/x2/chunks/1"} {
		if status := r.put(t, path, 1000+n); status != http.StatusConflict {
			t.Errorf("PUT %s: %d, want 409", path, status)
		}
	}
	if status, _ := r.call(t, http.MethodDelete, "/agent/v1/logs/general", nil); status != http.StatusConflict {
		t.Errorf("DELETE: %d, want 409", status)
	}
}

// TestH6LogsWhileTheyArePublished has its tenant ask for a log, and puts more than what that allows.
func TestH6LogsWhileTheyArePublished(t *testing.T) {
	s := newScene(t, gatewaytest.Limited("log_chunks=3", "logs=2"), withMachines)
	r := rogueGuest(t, s)
	s.makeActive(t, r)
	member := s.Client(gatewaytest.Member)
	at := gatewaytest.Instance(r.credential.AgentID)
	for n, log := range []string{"one", "two", "three"} {
		answered := make(chan gatewaytest.Answer, 1)
		go func() {
			a, _ := member.Try(http.MethodPost, at+"/log", fmt.Sprintf(`{"name":%q,"publish":1}`, log))
			answered <- a
		}()
		command := ""
		awaitTrue(t, "the command to publish", func() bool {
			for _, cmd := range s.commands(t, r.credential.AgentID) {
				if cmd.Method == datastores.MethodLogAction {
					command = cmd.ID
				}
			}
			return command != ""
		})
		want := http.StatusNoContent
		if n == 2 {
			want = http.StatusRequestEntityTooLarge // a third name
		}
		chunk := func(log string, n int) string { return fmt.Sprintf("/agent/v1/logs/%s/chunks/%d", log, n) }
		if status := r.put(t, chunk(log, 1), 1000); status != want {
			t.Errorf("%s: %d, want %d", log, status, want)
		}
		if status := r.put(t, chunk("other", 1), 1000); status != http.StatusConflict {
			t.Errorf("a log that was not asked for: %d, want 409", status)
		}
		if n == 0 {
			if status := r.put(t, chunk(log, 4), 1000); status != http.StatusRequestEntityTooLarge {
				t.Errorf("chunk 4 of 3: %d, want 413", status)
			}
			if status := r.put(t, chunk(log, 2), 2<<20); status != http.StatusRequestEntityTooLarge {
				t.Errorf("a chunk of 2 MiB: %d, want 413", status)
			}
		}
		path := strings.Replace(agentpoll.PathResult, "{id}", command, 1)
		if status, body := r.call(t, http.MethodPost, path, agentpoll.Result{Value: []byte(`{"name":"x","published":1000}`)}); status != http.StatusNoContent {
			t.Fatalf("result: %d %s", status, body)
		}
		<-answered
	}
	member.Want(t, http.StatusOK, http.MethodGet, at+"/log/one", "")
	blobs := s.Blobs
	if _, _, err := blobs.Get(t.Context(), "database_logs/p1/"+r.credential.AgentID+"/one/00000001"); err != nil {
		t.Fatal(err)
	}
	member.Want(t, http.StatusAccepted, http.MethodDelete, at, "")
	awaitTrue(t, "the end of what was published", func() bool {
		_, _, err := blobs.Get(t.Context(), "database_logs/p1/"+r.credential.AgentID+"/one/00000001")
		return err != nil
	})
}

// TestH6OneGuestFillsTheBackupStore has its tenant ask for a backup, and puts segments of any number and size.
func TestH6OneGuestFillsTheBackupStore(t *testing.T) {
	s := newScene(t)
	r := rogueGuest(t, s)
	s.makeActive(t, r)
	a := s.Client(gatewaytest.Member).Want(t, http.StatusAccepted, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, r.credential.AgentID))
	segment := func(n int) string {
		return fmt.Sprintf("/agent/v1/backups/%s/segments/%d", a.Text("backup", "id"), n)
	}
	// A volume of 1 GB: twice that and 1 GiB, in segments of 8 MiB.
	for _, c := range []struct{ n, size, status int }{
		{1, 8 << 20, http.StatusNoContent}, {384, 100, http.StatusNoContent},
		{385, 100, http.StatusRequestEntityTooLarge}, {99999999, 100, http.StatusRequestEntityTooLarge}, {2, 64 << 20, http.StatusRequestEntityTooLarge},
	} {
		if status := r.put(t, segment(c.n), c.size); status != c.status {
			t.Errorf("segment %d of %d bytes: %d, want %d", c.n, c.size, status, c.status)
		}
	}
	if s.counts(t, "backup_factor") != 2 {
		t.Error("the refusals were not counted")
	}
}

// inUse is what a project uses of a resource, as its quota says.
func (s scene) inUse(t *testing.T, resource string) any {
	t.Helper()
	a := s.Client(gatewaytest.Admin).Want(t, http.StatusOK, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "")
	for n := 0; a.At("quotas", n) != nil; n++ {
		if a.Text("quotas", n, "resource") == resource {
			return a.At("quotas", n, "in_use")
		}
	}
	t.Fatalf("there is no quota of %s", resource)
	return nil
}

// commanded waits for a command of a method, and returns its id.
func (s scene) commanded(t *testing.T, r rogue, method string) (id string) {
	t.Helper()
	awaitTrue(t, "a command "+method, func() bool {
		for _, cmd := range s.commands(t, r.credential.AgentID) {
			if cmd.Method == method {
				id = cmd.ID
			}
		}
		return id != ""
	})
	return id
}

// finish reports a command's result.
func (r rogue) finish(t *testing.T, id, value string) {
	t.Helper()
	status, body := r.call(t, http.MethodPost, strings.Replace(agentpoll.PathResult, "{id}", id, 1), agentpoll.Result{Value: json.RawMessage(value)})
	if status != http.StatusNoContent {
		t.Fatalf("result: %d %s", status, body)
	}
}

// TestH6OneProjectFillsTheBackupStore makes backups that are each within backup_factor, and says of each that it is empty.
func TestH6OneProjectFillsTheBackupStore(t *testing.T) {
	s := newScene(t, gatewaytest.Limited("backup_gigabytes=1"), withMachines)
	r := rogueGuest(t, s)
	s.makeActive(t, r)
	member := s.Client(gatewaytest.Member)
	order := fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, r.credential.AgentID)
	begin := func() (id string, segment func(int) string) {
		id = member.Want(t, http.StatusAccepted, http.MethodPost, "/backups", order).Text("backup", "id")
		return id, func(n int) string { return fmt.Sprintf("/agent/v1/backups/%s/segments/%d", id, n) }
	}
	first, segment := begin()
	for _, c := range []struct{ n, size, status int }{
		{1, 8 << 20, http.StatusNoContent}, {100, 100, http.StatusNoContent}, {129, 100, http.StatusRequestEntityTooLarge},
		{0, 1 << 20, http.StatusRequestEntityTooLarge}, {0, 1000, http.StatusNoContent}, // an index of more lines than segments
	} {
		if status := r.put(t, segment(c.n), c.size); status != c.status {
			t.Errorf("segment %d of %d bytes: %d, want %d", c.n, c.size, status, c.status)
		}
	}
	empty := func(id string) string { return fmt.Sprintf(`{"backup_id":%q,"stored":0}`, id) }
	r.finish(t, s.commanded(t, r, datastores.MethodCreateBackup), empty(first))
	second, segment := begin()
	// The first may have put 99 segments: 29 are left of 128.
	if status := r.put(t, segment(29), 100); status != http.StatusNoContent {
		t.Errorf("what is left: %d", status)
	}
	if status := r.put(t, segment(30), 100); status != http.StatusRequestEntityTooLarge {
		t.Errorf("more than what is left: %d, want 413", status)
	}
	if s.counts(t, "backup_gigabytes") != 2 {
		t.Errorf("%v refusals were counted, want 2", s.counts(t, "backup_gigabytes"))
	}
	r.finish(t, s.commanded(t, r, datastores.MethodCreateBackup), fmt.Sprintf(`{"backup_id":%q,"stored":%d}`, second, 29<<23))
	a := member.Want(t, http.StatusRequestEntityTooLarge, http.MethodPost, "/backups", order)
	if text := a.Text("overLimit", "message"); !strings.Contains(text, "backup_gigabytes") || !strings.Contains(text, "Delete") {
		t.Errorf("the refusal says %q", text)
	}
	for _, id := range []string{first, second} {
		member.Want(t, http.StatusAccepted, http.MethodDelete, "/backups/"+id, "")
	}
	if left := s.inUse(t, "backup_gigabytes"); left != 0.0 {
		t.Errorf("%v GB are in use without a backup", left)
	}
	third, segment := begin()
	if status := r.put(t, segment(128), 100); status != http.StatusNoContent {
		t.Errorf("all of it again: %d", status)
	}
	member.Want(t, http.StatusAccepted, http.MethodPost, "/backups/"+third+"/action", `{"cancel":{}}`)
	if left := s.inUse(t, "backup_gigabytes"); left != 0.0 {
		t.Errorf("%v GB are in use after the cancel", left)
	}
}

// TestH6OneProjectFillsTheStoreWithLogs publishes logs that are each within log_chunks.
func TestH6OneProjectFillsTheStoreWithLogs(t *testing.T) {
	s := newScene(t, gatewaytest.Limited("log_gigabytes=1"), withMachines)
	r := rogueGuest(t, s)
	s.makeActive(t, r)
	member, at := s.Client(gatewaytest.Member), gatewaytest.Instance(r.credential.AgentID)
	chunk := func(log string, n int) string { return fmt.Sprintf("/agent/v1/logs/%s/chunks/%d", log, n) }
	while := func(log, action string, do func()) {
		t.Helper()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _ = member.Try(http.MethodPost, at+"/log", fmt.Sprintf(`{"name":%q,%q:1}`, log, action))
		}()
		id := s.commanded(t, r, datastores.MethodLogAction)
		do()
		r.finish(t, id, `{"name":"x"}`)
		<-answered
	}
	put := func(log string, n, want int) {
		t.Helper()
		if status := r.put(t, chunk(log, n), 10); status != want {
			t.Errorf("chunk %d of %s: %d, want %d", n, log, status, want)
		}
	}
	while("one", "publish", func() {
		put("one", 1000, http.StatusNoContent)
		put("one", 0, http.StatusRequestEntityTooLarge) // logs have none
	})
	while("two", "publish", func() {
		put("two", 25, http.StatusRequestEntityTooLarge)
		put("two", 24, http.StatusNoContent)
	})
	if s.counts(t, "log_gigabytes") != 1 {
		t.Error("the refusal was not counted")
	}
	while("one", "discard", func() {
		if status, body := r.call(t, http.MethodDelete, "/agent/v1/logs/one", nil); status != http.StatusNoContent {
			t.Errorf("discard: %d %s", status, body)
		}
	})
	while("two", "publish", func() { put("two", 1000, http.StatusNoContent) })
	member.Want(t, http.StatusAccepted, http.MethodDelete, at, "")
	if left := s.inUse(t, "log_gigabytes"); left != 0.0 {
		t.Errorf("%v GB are in use without an instance", left)
	}
}
