package attacks

import (
	"crypto/sha256"
	"encoding/hex"
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
