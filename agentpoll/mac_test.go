package agentpoll

import (
	"encoding/json"
	"testing"
	"time"
)

func signedCommand(t testing.TB) (Command, []byte) {
	t.Helper()
	gateways, _ := NewKey()
	agent, _ := NewKey()
	key := CommandKey(gateways, agent.PublicKey().Bytes(), "agent")
	c := Command{ID: "c", Method: "remove", Args: json.RawMessage(`{"a":"<1>"}`), Sealed: []byte("s"), Deadline: time.Now(), NotBefore: 7}
	c.Sign(key, "agent")
	if !c.SignedBy(CommandKey(agent, gateways.PublicKey().Bytes(), "agent"), "agent") {
		t.Fatal("the MAC is not good")
	}
	return c, key
}

func TestMAC(t *testing.T) {
	c, key := signedCommand(t)
	for what, change := range map[string]func(*Command){
		"id": func(c *Command) { c.ID = "d" }, "method": func(c *Command) { c.Method = "launch" }, "args": func(c *Command) { c.Args = nil },
		"sealed": func(c *Command) { c.Sealed = []byte("t") }, "args for sealed": func(c *Command) { c.Args, c.Sealed = c.Sealed, c.Args },
		"deadline": func(c *Command) { c.Deadline = c.Deadline.Add(1) }, "MAC": func(c *Command) { c.MAC = nil },
		"lines": func(c *Command) { c.ID, c.Method = "c\nremove", "" },
	} {
		other := c
		if change(&other); other.SignedBy(key, "agent") {
			t.Errorf("a command with another %s is taken", what)
		}
	}
	if c.SignedBy(key, "other") || c.SignedBy(nil, "agent") || c.SignedBy(make([]byte, 32), "agent") || c.SignedBy(key[:31], "agent") {
		t.Error("another agent, no key or half a key takes it")
	}
	gateways, _ := NewKey()
	if CommandKey(gateways, make([]byte, 32), "agent") != nil || CommandKey(gateways, []byte("short"), "agent") != nil {
		t.Error("a public key that is none makes a key")
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
	if !c.SignedBy(key, "agent") {
		t.Error("the way to the agent breaks the MAC")
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
	for b.Loop() {
		c.SignedBy(key, "agent")
	}
}

func BenchmarkCommandKey(b *testing.B) {
	gateways, _ := NewKey()
	agent, _ := NewKey()
	for b.Loop() {
		CommandKey(gateways, agent.PublicKey().Bytes(), "agent")
	}
}
