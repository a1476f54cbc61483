package attacks

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestM9AHostThatBoasts enrols a host that says it has more memory than all others, so that every instance would go to it.
func TestM9AHostThatBoasts(t *testing.T) {
	s := newScene(t)
	admin := s.Client(gatewaytest.Admin)
	announce := func(memory int, pool string) json.RawMessage {
		text, _ := json.Marshal(deployments.Announcement{
			Machine: deployments.Machine{Name: "rogue", Driver: "oci", Pool: gatewaytest.Pool(pool), Capacity: deployments.Capacity{MemoryMB: memory, VCPUs: 1000, DiskGB: 1 << 30}},
			Offer:   deployments.Offer{Managers: []string{"memory"}},
		})
		return text
	}
	for name, c := range map[string]struct {
		enrolment string
		memory    float64
	}{
		"granted by the operator": {`{"enrolment":{"capacity":{"memory_mb":2048,"vcpus":2,"disk_gb":10},"pool":"10.1.0.0/16"}}`, 2048},
		"by its first words":      {`{"enrolment":{}}`, 4096},
	} {
		a := admin.Want(t, http.StatusOK, http.MethodPost, "/mgmt/enrolments", c.enrolment)
		secret := agentpoll.NewSecret()
		r := rogue{url: s.URL}
		enrol := func(manifest json.RawMessage) int {
			status, _ := r.call(t, http.MethodPost, agentpoll.PathEnroll, agentpoll.EnrollRequest{
				Token: a.Text("enrolment", "token"), Kind: agentpoll.Host, CredentialHash: agentpoll.HashSecret(secret), PublicKey: bytes.Repeat([]byte{9}, 32), Manifest: manifest,
			})
			return status
		}
		if status := enrol(announce(4096, "10.2.0.0/16")); name == "granted by the operator" && status != http.StatusBadRequest {
			t.Errorf("%s: a pool of its own choice: %d", name, status)
		}
		if status := enrol(announce(4096, "10.1.2.0/24")); status != http.StatusOK {
			t.Fatalf("%s: enrol: %d", name, status)
		}
		r.credential = agentpoll.Credential{AgentID: a.Text("enrolment", "agent_id"), Secret: secret}
		pool := "10.1.2.0/24"
		if name != "granted by the operator" {
			pool = "10.2.0.0/16" // what it has said first
		}
		if status, body := r.call(t, http.MethodPost, agentpoll.PathPoll, agentpoll.PollRequest{Status: announce(1<<30, pool), Running: []string{newID()}}); status != http.StatusOK {
			t.Fatalf("%s: poll: %d %s", name, status, body)
		}
		hosts := admin.Want(t, http.StatusOK, http.MethodGet, "/mgmt/hosts", "")
		for n := 0; hosts.At("hosts", n) != nil; n++ {
			if hosts.Text("hosts", n, "id") == r.credential.AgentID && hosts.At("hosts", n, "capacity", "memory_mb") != c.memory {
				t.Errorf("%s: it counts as having %v MB, want %v", name, hosts.At("hosts", n, "capacity", "memory_mb"), c.memory)
			}
		}
		if status, _ := r.call(t, http.MethodPost, agentpoll.PathPoll, agentpoll.PollRequest{Status: announce(10, "10.9.0.0/16")}); status != http.StatusBadRequest {
			t.Errorf("%s: another pool: %d", name, status)
		}
	}
}
