package gateway

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"sync"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
)

// ParseAgentCAs reads the fingerprints of [Config.AgentCAs], with commas between them.
func ParseAgentCAs(text string) ([]string, error) { return agentpoll.ParseCAs(text) }

// signer makes what agents take for the gateways' own word.
type signer struct {
	private *ecdh.PrivateKey // of which agents know the public half
	stored  []byte           // key of commands in etcd, made of private: gateways alone have it
	cas     []string         // by which agents know gateways
	agents  *sync.Map        // of agents that have called here: id -> agentKey
}

// agentKey is what makes commands for an agent.
type agentKey struct{ public, key []byte }

func newSigner(private *ecdh.PrivateKey, cas []string) (s signer, err error) {
	s = signer{private: private, cas: cas, agents: new(sync.Map)}
	s.stored, err = hkdf.Key(sha256.New, private.Bytes(), nil, "coffer commands in etcd", sha256.Size)
	return s, err
}

// newToken makes an enrolment token by which its agent knows these gateways, and no others.
func (s signer) newToken() agentpoll.Token {
	return agentpoll.Token{Secret: agentpoll.NewSecret(), CAs: s.cas}
}

// command writes a command for an agent, signed with the gateways' key: whoever can write to etcd, but has no key file, cannot make one.
// All commands are made here.
func (s signer) command(agentID string, cmd etcdschema.Command) etcdschema.Op {
	cmd.Sign(s.stored, agentID)
	return etcdschema.Put(etcdschema.CommandKey(agentID, cmd.ID), cmd)
}

// knows keeps the key of an agent that has just shown its credential: commands are delivered to such ones alone. An agent that is gone
// leaves two hundred bytes until the gateway ends.
func (s signer) knows(agentID string, public []byte) {
	if had, ok := s.agents.Load(agentID); ok && bytes.Equal(had.(agentKey).public, public) {
		return
	}
	s.agents.Store(agentID, agentKey{public, agentpoll.CommandKey(s.private, public, agentID)})
}

// deliver signs for an agent what gateways have signed for etcd. Anything else goes without, and is refused by the agent.
func (s signer) deliver(agentID string, cmd agentpoll.Command) agentpoll.Command {
	known, _ := s.agents.Load(agentID)
	if agent, ok := known.(agentKey); ok && agent.key != nil && cmd.SignedBy(s.stored, agentID) {
		cmd.Sign(agent.key, agentID)
	} else {
		cmd.MAC = nil
	}
	return cmd
}

// trust is what an agent is told to believe of gateways. It is told the key of commands when nothing unsigned can come any more: no
// gateway of an older version is there, and nothing that one has left waits for the agent. Else it hears of it at a later rotation.
func (g *Gateway) trust(ctx context.Context, agentID string) *agentpoll.Trust {
	t := &agentpoll.Trust{CAs: g.signer.cas}
	signed, err := g.onlySigned(ctx, agentID)
	if err != nil {
		g.log.Warn("an agent is not told yet with which key commands are signed", "agent_id", agentID, "err", err)
	}
	if signed {
		t.CommandKeys = [][]byte{g.signer.private.PublicKey().Bytes()}
	}
	return t
}

func (g *Gateway) onlySigned(ctx context.Context, agentID string) (bool, error) {
	if !g.allSign.Load() {
		gateways, err := etcdschema.List(ctx, g.store, etcdschema.Gateways(), etcdschema.Page{})
		if err != nil {
			return false, err
		}
		for _, other := range gateways.Records {
			if !other.Value.Signs {
				return false, fmt.Errorf("the gateway at %s is of version %q, which signs none", other.Value.Address, other.Value.Version)
			}
		}
		g.allSign.Store(true)
	}
	pending, err := etcdschema.List(ctx, g.store, etcdschema.Commands(agentID), etcdschema.Page{})
	unsigned := func(rec etcdschema.Record[etcdschema.Command]) bool { return len(rec.Value.MAC) == 0 }
	return err == nil && !slices.ContainsFunc(pending.Records, unsigned), err
}

// commandKey returns the private key of which gateways make the keys of commands. The first gateway that looks makes it; it is in etcd, sealed with the
// key file that all of them have.
func commandKey(ctx context.Context, store *etcdschema.Store, keys *Keyring) (private *ecdh.PrivateKey, err error) {
	key := etcdschema.CommandsAuthorityKey()
	_, err = store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		if rec.Found {
			seed, err := keys.open(key.String(), rec.Value.Sealed)
			if err == nil {
				private, err = ecdh.X25519().NewPrivateKey(seed)
			}
			return nil, err
		}
		if private, err = agentpoll.NewKey(); err != nil {
			return nil, err
		}
		public, err := x509.MarshalPKIXPublicKey(private.PublicKey())
		if err != nil {
			return nil, err
		}
		return []etcdschema.Op{etcdschema.Put(key, etcdschema.Authority{
			Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), Sealed: keys.seal(key.String(), private.Bytes()),
		})}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot have the key that signs commands: %w", err)
	}
	return private, nil
}
