package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/authority"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// KnownAuthority is one of the gateways' own CAs, and who knows it.
type KnownAuthority struct {
	Fingerprint string    `json:"fingerprint"` // hex SHA-256 of the certificate
	Signs       bool      `json:"signs"`       // the certificates that gateways make when they start
	Expires     time.Time `json:"expires"`
	// NotToldBy are the addresses of gateways that do not name it to agents, and NotKnownBy the ids of agents that have not been told of
	// it. ServedBy are the addresses of gateways whose certificate it has signed.
	NotToldBy  []string `json:"not_told_by"`
	NotKnownBy []string `json:"not_known_by"`
	ServedBy   []string `json:"served_by"`
}

// KnownAuthorities tells of the gateways' own CAs, the one that signs first.
func KnownAuthorities(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring) ([]KnownAuthority, error) {
	cas, err := madeAuthorities(ctx, store, keys)
	if err != nil {
		return nil, err
	}
	gateways, err := etcdschema.List(ctx, store, etcdschema.Gateways(), etcdschema.Page{})
	if err != nil {
		return nil, err
	}
	agents, err := etcdschema.List(ctx, store, etcdschema.Agents(), etcdschema.Page{})
	if err != nil {
		return nil, err
	}
	var known []KnownAuthority
	for i, ca := range cas {
		k := KnownAuthority{Fingerprint: ca.Fingerprint(), Signs: i == 0, Expires: ca.Expires(), NotToldBy: []string{}, NotKnownBy: []string{}, ServedBy: []string{}}
		for _, g := range gateways.Records {
			if !slices.Contains(g.Value.CAs, k.Fingerprint) {
				k.NotToldBy = append(k.NotToldBy, g.Value.Address)
			} else if g.Value.CAs[0] == k.Fingerprint {
				k.ServedBy = append(k.ServedBy, g.Value.Address)
			}
		}
		for _, a := range agents.Records {
			if a.Value.Locked == "" && !slices.Contains(a.Value.CAs, k.Fingerprint) {
				k.NotKnownBy = append(k.NotKnownBy, a.Value.ID)
			}
		}
		known = append(known, k)
	}
	return known, nil
}

// madeAuthorities are the CAs that gateways have made.
func madeAuthorities(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring) ([]*authority.Authority, error) {
	_, err := etcdschema.Get(ctx, store, etcdschema.GatewaysAuthorityKey())
	if errors.Is(err, etcdschema.ErrNotFound) {
		return nil, errors.New("the gateways have no CA of their own: none has started, or all serve with -tls-cert or -insecure-http")
	}
	if err != nil {
		return nil, err
	}
	return OwnAuthorities(ctx, store, keys)
}

// NextAuthority makes a second CA and returns its fingerprint. Gateways name it to agents from their next start on, while the first one
// goes on signing.
func NextAuthority(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring) (fingerprint string, err error) {
	if _, err := madeAuthorities(ctx, store, keys); err != nil {
		return "", err
	}
	key := etcdschema.OtherGatewaysAuthorityKey()
	_, err = store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		if rec.Found {
			return nil, errors.New("there are two already: see `coffer keys authority list`, then switch, or drop the one that does not sign")
		}
		ca, err := authority.New("Coffer gateways", time.Now())
		if err != nil {
			return nil, err
		}
		fingerprint = ca.Fingerprint()
		op, err := control.SealAuthority(keys, key, ca)
		return []etcdschema.Op{op}, err
	})
	return fingerprint, err
}

// SwitchAuthorities has the other CA sign from the gateways' next start on, and returns its fingerprint. While a gateway does not name it,
// or an agent was not told of it, that is refused, unless it is forced: such an agent is lost until it enrols anew.
func SwitchAuthorities(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring, force bool) (fingerprint string, err error) {
	other, err := otherAuthority(ctx, store, keys)
	switch {
	case err != nil:
		return "", err
	case len(other.NotToldBy) > 0 && !force:
		return "", fmt.Errorf("%d gateways do not name %s to agents: restart %s", len(other.NotToldBy), other.Fingerprint, some(other.NotToldBy))
	case len(other.NotKnownBy) > 0 && !force:
		return "", fmt.Errorf("%d agents have not been told of %s: %s. Wait: each hears of it within a day, when it rotates its credential. "+
			"--force goes on without them; a host or guest that is left behind must enrol anew", len(other.NotKnownBy), other.Fingerprint, some(other.NotKnownBy))
	}
	signsKey, otherKey := etcdschema.GatewaysAuthorityKey(), etcdschema.OtherGatewaysAuthorityKey()
	_, err = store.Update(ctx, []etcdschema.Ref{signsKey, otherKey}, func(s etcdschema.Snapshot) (ops []etcdschema.Op, err error) {
		for _, move := range [][2]etcdschema.Key[etcdschema.Authority]{{signsKey, otherKey}, {otherKey, signsKey}} {
			rec, err := etcdschema.Read(s, move[0])
			if err != nil || !rec.Found {
				return nil, errors.Join(err, errors.New("somebody else is changing the CAs; look at `coffer keys authority list`"))
			}
			ca, err := control.OpenAuthority(keys, move[0], rec.Value)
			if err != nil {
				return nil, err
			}
			op, err := control.SealAuthority(keys, move[1], ca)
			if err != nil {
				return nil, err
			}
			if move[1] == signsKey && ca.Fingerprint() != other.Fingerprint {
				return nil, errors.New("somebody else has changed the CAs; look at `coffer keys authority list`")
			}
			ops = append(ops, op)
		}
		return ops, nil
	})
	return other.Fingerprint, err
}

// DropAuthority forgets the CA that does not sign, and returns its fingerprint. While a gateway serves with its certificate that is refused.
// Agents forget it when they rotate their credential next.
func DropAuthority(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring) (fingerprint string, err error) {
	other, err := otherAuthority(ctx, store, keys)
	if err != nil {
		return "", err
	}
	if len(other.ServedBy) > 0 {
		return "", fmt.Errorf("%d gateways serve with its certificate: restart %s", len(other.ServedBy), some(other.ServedBy))
	}
	key := etcdschema.OtherGatewaysAuthorityKey()
	_, err = store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		ca, err := control.OpenAuthority(keys, key, rec.Value)
		if err == nil && ca.Fingerprint() != other.Fingerprint {
			err = errors.New("somebody else has changed the CAs; look at `coffer keys authority list`")
		}
		return []etcdschema.Op{etcdschema.Delete(key)}, err
	})
	return other.Fingerprint, err
}

func otherAuthority(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring) (KnownAuthority, error) {
	known, err := KnownAuthorities(ctx, store, keys)
	if err == nil && len(known) < 2 {
		err = errors.New("there is one CA only; `coffer keys authority next` makes another")
	}
	if err != nil {
		return KnownAuthority{}, err
	}
	return known[1], nil
}

// some names a few of many.
func some(all []string) string {
	if len(all) > 5 {
		return strings.Join(all[:5], ", ") + fmt.Sprintf(" and %d more", len(all)-5)
	}
	return strings.Join(all, ", ")
}
