package plan

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"sync"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
)

// Signer makes what agents take for the gateways' own word.
type Signer struct {
	Private *ecdh.PrivateKey // of which agents know the public half
	stored  []byte           // key of commands in etcd, made of private: gateways alone have it
	audit   []byte           // key of what is kept of commands, made of private as well
	CAs     []string         // by which agents know gateways
	agents  *sync.Map        // of agents that have called here: id -> agentKey
}

// agentKey is what makes commands for an agent.
type agentKey struct{ public, key []byte }

func NewSigner(private *ecdh.PrivateKey, cas []string) (s Signer, err error) {
	s = Signer{Private: private, CAs: cas, agents: new(sync.Map)}
	if s.stored, err = hkdf.Key(sha256.New, private.Bytes(), nil, "coffer commands in etcd", sha256.Size); err != nil {
		return s, err
	}
	s.audit, err = hkdf.Key(sha256.New, private.Bytes(), nil, "coffer audit in etcd", sha256.Size)
	return s, err
}

// NewToken makes an enrolment token by which its agent knows these gateways, and no others.
func (s Signer) NewToken() agentpoll.Token {
	return agentpoll.Token{Secret: agentpoll.NewSecret(), CAs: s.CAs}
}

// Command writes a command for an agent, signed with the gateways' key: whoever can write to etcd, but has no key file, cannot make one.
// All commands are made here.
func (s Signer) Command(agentID string, cmd etcdschema.Command) etcdschema.Op {
	cmd.Sign(s.stored, agentID)
	return etcdschema.Put(etcdschema.CommandKey(agentID, cmd.ID), cmd)
}

// Knows keeps the key of an agent that has just shown its credential: commands are delivered to such ones alone. An agent that is gone
// leaves two hundred bytes until the gateway ends.
func (s Signer) Knows(agentID string, public []byte) {
	if had, ok := s.agents.Load(agentID); ok && bytes.Equal(had.(agentKey).public, public) {
		return
	}
	s.agents.Store(agentID, agentKey{public, agentpoll.CommandKey(s.Private, public, agentID)})
}

// Deliver signs for an agent what gateways have signed for etcd. Anything else goes without, and is refused by the agent.
func (s Signer) Deliver(agentID string, cmd agentpoll.Command) agentpoll.Command {
	if key := s.agentKey(agentID); key != nil && cmd.SignedBy(s.stored, agentID) {
		cmd.Sign(key, agentID)
	} else {
		cmd.MAC = nil
	}
	return cmd
}

// agentKey is the key of an agent that has called here; nil: it has not.
func (s Signer) agentKey(agentID string) []byte {
	known, _ := s.agents.Load(agentID)
	agent, _ := known.(agentKey)
	return agent.key
}
