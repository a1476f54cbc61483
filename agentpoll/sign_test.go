package agentpoll

import (
	"crypto/ed25519"
	"encoding/json"
	"testing"
	"time"
)

func signedCommand(t testing.TB) (Command, ed25519.PrivateKey) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := Command{ID: "c", Method: "remove", Args: json.RawMessage(`{"a":"<1>"}`), Sealed: []byte("s"), Deadline: time.Now(), Fence: 7}
	c.Sign(key, "agent")
	if !c.SignedBy([][]byte{make([]byte, 32), public}, "agent") {
		t.Fatal("the signature is not good")
	}
	return c, key
}

func TestSignature(t *testing.T) {
	c, key := signedCommand(t)
	public := key.Public().(ed25519.PublicKey)
	for what, change := range map[string]func(*Command){
		"id": func(c *Command) { c.ID = "d" }, "method": func(c *Command) { c.Method = "launch" }, "args": func(c *Command) { c.Args = nil },
		"sealed": func(c *Command) { c.Sealed = []byte("t") }, "args for sealed": func(c *Command) { c.Args, c.Sealed = c.Sealed, c.Args },
		"deadline": func(c *Command) { c.Deadline = c.Deadline.Add(1) }, "signature": func(c *Command) { c.Signature = nil },
		"lines": func(c *Command) { c.ID, c.Method = "c\nremove", "" },
	} {
		other := c
		if change(&other); other.SignedBy([][]byte{public}, "agent") {
			t.Errorf("a command with another %s is taken", what)
		}
	}
	if c.SignedBy([][]byte{public}, "other") || c.SignedBy(nil, "agent") || c.SignedBy([][]byte{public[:31]}, "agent") {
		t.Error("another agent, no key or half a key takes it")
	}
	args, _ := json.Marshal(map[string]string{"a": "<1>"})
	c.Args = args // as gateways make them
	c.Sign(key, "agent")
	for range 2 { // to etcd, to the agent
		text, _ := json.Marshal(c)
		c = Command{}
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
	}
	if !c.SignedBy([][]byte{public}, "agent") {
		t.Error("the way to the agent breaks the signature")
	}
}

func BenchmarkSign(b *testing.B) {
	c, key := signedCommand(b)
	for b.Loop() {
		c.Sign(key, "agent")
	}
}

func BenchmarkSignedBy(b *testing.B) {
	c, key := signedCommand(b)
	keys := [][]byte{key.Public().(ed25519.PublicKey)}
	for b.Loop() {
		c.SignedBy(keys, "agent")
	}
}
