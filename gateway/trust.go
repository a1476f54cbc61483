package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
)

// ParseAgentCAs reads the fingerprints of [Config.AgentCAs], with commas between them.
func ParseAgentCAs(text string) ([]string, error) { return agentpoll.ParseCAs(text) }

// signer makes what agents take for the gateways' own word.
type signer struct {
	key ed25519.PrivateKey // of commands
	cas []string           // by which agents know gateways
}

// newToken makes an enrolment token by which its agent knows these gateways, and no others.
func (s signer) newToken() agentpoll.Token {
	return agentpoll.Token{Secret: agentpoll.NewSecret(), CAs: s.cas}
}

// command writes a command for an agent, signed with the gateways' key: whoever can write to etcd, but has no key file, cannot make one.
// All commands are made here.
func (s signer) command(agentID string, cmd etcdschema.Command) etcdschema.Op {
	cmd.Sign(s.key, agentID)
	return etcdschema.Put(etcdschema.CommandKey(agentID, cmd.ID), cmd)
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
		t.CommandKeys = [][]byte{g.signer.key.Public().(ed25519.PublicKey)}
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
	unsigned := func(rec etcdschema.Record[etcdschema.Command]) bool { return len(rec.Value.Signature) == 0 }
	return err == nil && !slices.ContainsFunc(pending.Records, unsigned), err
}

// commandKey returns the key with which gateways sign commands. The first gateway that looks makes it; it is in etcd, sealed with the
// key file that all of them have.
func commandKey(ctx context.Context, store *etcdschema.Store, keys *Keyring) (signer ed25519.PrivateKey, err error) {
	key := etcdschema.CommandsAuthorityKey()
	_, err = store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		if rec.Found {
			seed, err := keys.open(key.String(), rec.Value.Sealed)
			if err == nil && len(seed) != ed25519.SeedSize {
				err = errors.New("it has another length")
			}
			if err == nil {
				signer = ed25519.NewKeyFromSeed(seed)
			}
			return nil, err
		}
		seed := make([]byte, ed25519.SeedSize)
		_, _ = rand.Read(seed) // never fails: crypto/rand ends the program instead
		signer = ed25519.NewKeyFromSeed(seed)
		public, err := x509.MarshalPKIXPublicKey(signer.Public())
		if err != nil {
			return nil, err
		}
		return []etcdschema.Op{etcdschema.Put(key, etcdschema.Authority{
			Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), Sealed: keys.seal(key.String(), seed),
		})}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot have the key that signs commands: %w", err)
	}
	return signer, nil
}
