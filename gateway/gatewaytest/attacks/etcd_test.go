package attacks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

const patience = 20 * time.Second

func awaitTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	until.True(t, patience, what, holds)
}

// TestH5OneMemberFillsEtcd makes configuration groups as large and as many as the gateway takes, over eight connections.
func TestH5OneMemberFillsEtcd(t *testing.T) {
	s := newScene(t)
	c := s.Client(gatewaytest.Member)
	group := func(description string) string {
		return fmt.Sprintf(`{"configuration":{"name":"g","description":%q,"values":{"max_connections":7},"datastore":{"type":"memory","version":"1"}}}`, description)
	}
	before := s.size(t)
	refused := c.Do(t, http.MethodPost, "/configurations", group(strings.Repeat("x", 500_000)))
	if refused.Status != http.StatusBadRequest || !strings.Contains(string(refused.Body), "more than") {
		t.Errorf("a description of 500 KB: %d %.200s", refused.Status, refused.Body)
	}
	var mu sync.Mutex
	made, answers := 0, map[int]int{}
	var members sync.WaitGroup
	for range 8 {
		members.Go(func() {
			for range 50 {
				a, err := c.Try(http.MethodPost, "/configurations", group(strings.Repeat("x", 1024)))
				mu.Lock()
				if err == nil {
					answers[a.Status]++
				}
				if a.Status == http.StatusOK {
					made++
				}
				mu.Unlock()
			}
		})
	}
	members.Wait()
	if made != 100 || answers[http.StatusRequestEntityTooLarge] == 0 {
		t.Errorf("%d groups were made, answers %v; want the 100 of the quota, then 413", made, answers)
	}
	if s.counts(t, "configurations") == 0 {
		t.Error("no refusal was counted")
	}
	// The same group, written over and over, as large as may be: history counts too.
	id := c.Do(t, http.MethodGet, "/configurations", "").Text("configurations", 0, "id")
	large := fmt.Sprintf(`{"configuration":{"description":%q}}`, strings.Repeat("y", 1024)) + strings.Repeat(" ", 900_000)
	for n := 0; ; n++ {
		a := c.Do(t, http.MethodPatch, "/configurations/"+id, large)
		if a.Status == http.StatusTooManyRequests {
			if a.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			break
		}
		if n == 1000 {
			t.Fatalf("nobody stops the writing: %d %s", a.Status, a.Body)
		}
	}
	if grown := s.size(t) - before; grown > share {
		t.Errorf("etcd has grown by %d bytes", grown)
	}
	if a := s.Client(gatewaytest.Other); a.Project != "" {
		a.Project = "p2"
		a.Want(t, http.StatusOK, http.MethodPost, "/configurations", group("another project"))
	}
}

// TestH6OneGuestFillsEtcd lets the guest of a machine of the tenant's own send statuses of 400 KB with each poll, then small ones as
// fast as it can, and progress in ever new words.
func TestH6OneGuestFillsEtcd(t *testing.T) {
	s := newScene(t, gatewaytest.Hold(time.Second))
	r := rogueGuest(t, s)
	before := s.size(t)
	status := func(message string) json.RawMessage {
		text, _ := json.Marshal(datastores.Status{Service: datastores.StatusHealthy, Message: message})
		return text
	}
	if code, body := r.call(t, http.MethodPost, agentpoll.PathPoll, agentpoll.PollRequest{Status: status(strings.Repeat("x", 400_000))}); code != http.StatusBadRequest {
		t.Errorf("a status of 400 KB: %d %.200s", code, body)
	}
	command := ""
	awaitTrue(t, "the command to prepare", func() bool {
		for _, cmd := range s.commands(t, r.credential.AgentID) {
			command = cmd.ID
		}
		return command != ""
	})
	slowed := 0
	for n := range 200 {
		path := strings.Replace(agentpoll.PathProgress, "{id}", command, 1)
		words := strings.Repeat(string(rune('a'+n%26)), 1000+n)
		if code, _ := r.call(t, http.MethodPost, path, agentpoll.Progress{Message: words}); code == http.StatusTooManyRequests {
			slowed++
		}
	}
	if slowed < 150 {
		t.Errorf("%d of 200 reports of progress at once were refused", slowed)
	}
	fast := 0
	for n := 0; n < 2000 && fast == 0; n++ {
		// A body of blanks costs as much as one of words.
		padded := append([]byte(fmt.Sprintf(`{"status":{"service":"HEALTHY","message":"%d"},"cursor":{}}`, n)), []byte(strings.Repeat(" ", 100_000))...)
		code, _ := r.send(t, http.MethodPost, agentpoll.PathPoll, padded, nil)
		if code == http.StatusTooManyRequests {
			fast++
		}
	}
	if fast == 0 || s.counts(t, "agent_bytes") == 0 || s.counts(t, "progress") == 0 {
		t.Errorf("nobody stops the guest, or nobody counts it")
	}
	if grown := s.size(t) - before; grown > share {
		t.Errorf("etcd has grown by %d bytes", grown)
	}
}

// commands are what an agent is asked at present.
func (s scene) commands(t *testing.T, agent string) (cmds []etcdschema.Command) {
	t.Helper()
	list, err := etcdschema.List(t.Context(), s.store, etcdschema.Commands(agent), etcdschema.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range list.Records {
		cmds = append(cmds, rec.Value)
	}
	return cmds
}

// TestH5SmallRequestsRewriteLargeRecords gives a configuration group values of 1 KB once, and then changes its description by requests of
// some bytes: each writes all of it anew, and history counts.
func TestH5SmallRequestsRewriteLargeRecords(t *testing.T) {
	s := newScene(t, gatewaytest.Limited("write_bytes=1024"), withMachines)
	c := s.Client(gatewaytest.Member)
	id := c.Want(t, http.StatusOK, http.MethodPost, "/configurations", fmt.Sprintf(
		`{"configuration":{"name":"g","values":{"greeting":%q},"datastore":{"type":"memory","version":"1"}}}`, strings.Repeat("x", 1000))).Text("configuration", "id")
	begun, made := time.Now(), 0
	for n := range 600 {
		a := c.Do(t, http.MethodPatch, "/configurations/"+id, fmt.Sprintf(`{"configuration":{"description":"%d"}}`, n))
		if a.Status == http.StatusTooManyRequests {
			break
		}
		if a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		made++
	}
	// The burst, and what is earned meanwhile, at 1 KiB a second: a request is 1 KiB, and what it writes.
	if most := (128 + int(time.Since(begun).Seconds()) + 1) * 1024 / (1024 + 1000); made > most || made == 0 {
		t.Errorf("%d changes of a group of 1 KB were made, want at most %d", made, most)
	}
}

// TestH5RenamesOfALargeRecord renames an instance whose record is large, by requests of some bytes, until it is told to wait. Etcd grows by no
// more than is charged, and gives that back when its history is compacted.
func TestH5RenamesOfALargeRecord(t *testing.T) {
	s := newScene(t)
	c := s.Client(gatewaytest.Member)
	var users []string
	for n := range 250 {
		users = append(users, fmt.Sprintf(`{"name":"u%d","password":%q}`, n, strings.Repeat("p", 100)))
	}
	id := c.Want(t, http.StatusOK, http.MethodPost, "/instances", fmt.Sprintf(
		`{"instance":{"name":"n","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"},"user_data":true,"users":[%s]}}`, strings.Join(users, ","))).Text("instance", "id")
	rec, err := etcdschema.Get(t.Context(), s.store, etcdschema.InstanceKey(gatewaytest.Project, id))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(rec.Value)
	record := int64(len(text))
	if record < 20<<10 {
		t.Fatalf("the record has %d bytes only", record)
	}
	before, begun, made := s.holds(t), time.Now(), int64(0)
	for a := (gatewaytest.Answer{}); a.Status != http.StatusTooManyRequests; made++ {
		if a = c.Do(t, http.MethodPut, gatewaytest.Instance(id), fmt.Sprintf(`{"instance":{"name":"n%d"}}`, made)); made == 1000 {
			t.Fatalf("nobody stops the renaming: %d %s", a.Status, a.Body)
		}
	}
	made-- // the last one was refused
	charged := (128 + int64(time.Since(begun).Seconds()) + 1) * 32 << 10
	if made*record > charged {
		t.Errorf("%d renames wrote %d bytes, want at most %d", made, made*record, charged)
	}
	grown := s.holds(t) - before
	t.Logf("%d renames of a record of %d bytes: etcd has grown by %d bytes, %.2f of the %d that may have been charged", made, record, grown, float64(grown)/float64(charged), charged)
	if grown > charged*overhead/100 {
		t.Errorf("etcd has grown by %d bytes for the %d that were charged at most", grown, charged)
	}
	if rec, err = etcdschema.Get(t.Context(), s.store, etcdschema.InstanceKey(gatewaytest.Project, id)); err != nil {
		t.Fatal(err)
	}
	s.etcd.Compact(t, rec.Changed)
	awaitTrue(t, "what was history is free", func() bool {
		s.etcd.Put(t, "/test/next", "") // pages are free with the next write
		return s.holds(t)-before < 10*record
	})
}

// overhead is what etcd takes for 100 bytes that are charged, keys and free parts of its pages and all: see gateway's TestSharesOfEtcd.
const overhead = 120

// holds is how many bytes of etcd's database hold something.
func (s scene) holds(t *testing.T) int64 {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{s.etcd.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	status, err := etcd.Status(t.Context(), s.etcd.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	return status.DbSizeInUse
}
