package control

import (
	"context"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/authority"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// ProjectAuthority is the CA of a project. It is made at the first need.
func (cp *Plane) ProjectAuthority(ctx context.Context, project string) (*authority.Authority, error) {
	return AuthorityAt(ctx, cp.Store, cp.Keys, etcdschema.ProjectAuthorityKey(project), "Coffer project "+project)
}

// Trust is what an agent is told to believe of gateways. It is told the key of commands when nothing unsigned can come any more: no
// gateway of an older version is there, and nothing that one has left waits for the agent. Else it hears of it at a later rotation.
func (cp *Plane) Trust(ctx context.Context, agentID string) *agentpoll.Trust {
	t := &agentpoll.Trust{CAs: cp.Signer.CAs}
	signed, err := cp.onlySigned(ctx, agentID)
	if err != nil {
		cp.Log.Warn("an agent is not told yet with which key commands are signed", "agent_id", agentID, "err", err)
	}
	if signed {
		t.CommandKeys = [][]byte{cp.Signer.Private.PublicKey().Bytes()}
	}
	return t
}

func (cp *Plane) onlySigned(ctx context.Context, agentID string) (bool, error) {
	if !cp.allSign.Load() {
		gateways, err := etcdschema.List(ctx, cp.Store, etcdschema.Gateways(), etcdschema.Page{})
		if err != nil {
			return false, err
		}
		for _, other := range gateways.Records {
			if !other.Value.Signs {
				return false, fmt.Errorf("the gateway at %s is of version %q, which signs none", other.Value.Address, other.Value.Version)
			}
		}
		cp.allSign.Store(true)
	}
	pending, err := etcdschema.List(ctx, cp.Store, etcdschema.Commands(agentID), etcdschema.Page{})
	unsigned := func(rec etcdschema.Record[etcdschema.Command]) bool { return len(rec.Value.MAC) == 0 }
	return err == nil && !slices.ContainsFunc(pending.Records, unsigned), err
}

// CommandKey returns the private key of which gateways make the keys of commands. The first gateway that looks makes it; it is in etcd, sealed with the
// key file that all of them have.
func CommandKey(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring) (*ecdh.PrivateKey, error) {
	key := etcdschema.CommandsAuthorityKey()
	private, err := kept(ctx, store, key, func(a etcdschema.Authority) (*ecdh.PrivateKey, error) {
		seed, err := keys.Open(key.String(), a.Sealed)
		if err != nil {
			return nil, err
		}
		return ecdh.X25519().NewPrivateKey(seed)
	}, func() (*ecdh.PrivateKey, etcdschema.Op, error) {
		private, err := agentpoll.NewKey()
		if err != nil {
			return nil, etcdschema.Op{}, err
		}
		public, err := x509.MarshalPKIXPublicKey(private.PublicKey())
		return private, etcdschema.Put(key, etcdschema.Authority{
			Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), Sealed: keys.Seal(key.String(), private.Bytes()),
		}), err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot have the key that signs commands: %w", err)
	}
	return private, nil
}

// AuthorityAt returns the CA of a key. Who looks first makes it, with a name for people.
func AuthorityAt(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring, key etcdschema.Key[etcdschema.Authority], name string) (*authority.Authority, error) {
	return kept(ctx, store, key, func(a etcdschema.Authority) (*authority.Authority, error) {
		return OpenAuthority(keys, key, a)
	}, func() (*authority.Authority, etcdschema.Op, error) {
		ca, err := authority.New(name, time.Now())
		if err != nil {
			return nil, etcdschema.Op{}, err
		}
		op, err := SealAuthority(keys, key, ca)
		return ca, op, err
	})
}

// kept returns what open reads from the record of a key. When there is no record it returns what first makes, and writes that.
func kept[T any](ctx context.Context, store *etcdschema.Store, key etcdschema.Key[etcdschema.Authority],
	open func(etcdschema.Authority) (*T, error), first func() (*T, etcdschema.Op, error),
) (thing *T, err error) {
	_, err = store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		if rec.Found {
			thing, err = open(rec.Value)
			return nil, err
		}
		var op etcdschema.Op
		thing, op, err = first()
		return []etcdschema.Op{op}, err
	})
	return thing, err
}

// OpenAuthority reads the CA that is kept at a key.
func OpenAuthority(keys *keyring.Keyring, key etcdschema.Key[etcdschema.Authority], a etcdschema.Authority) (*authority.Authority, error) {
	private, err := keys.Open(key.String(), a.Sealed)
	if err != nil {
		return nil, err
	}
	return authority.Parse([]byte(a.Certificate), private)
}

// SealAuthority is a CA as it is kept at a key.
func SealAuthority(keys *keyring.Keyring, key etcdschema.Key[etcdschema.Authority], ca *authority.Authority) (etcdschema.Op, error) {
	private, err := ca.Key()
	return etcdschema.Put(key, etcdschema.Authority{Certificate: string(ca.PEM()), Sealed: keys.Seal(key.String(), private)}), err
}
