package cassandra

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

const (
	memberFile = "cassandra-member.json" // below Env.Dir
	tokens     = 16                      // of each member: that many parts of the ring are its first ones
	secretSize = 24                      // bytes
)

// standing is where the server stands with its ring.
type standing string

const (
	outside  standing = ""        // it runs by itself, empty, and only its guest gets in
	joining  standing = "joining" // it was emptied for the ring, and gets its part of the data
	inside   standing = "inside"
	outgoing standing = "outgoing" // its part is with the others; what it still has is to be removed
)

// member is what the guest keeps of the ring that its server is, was or will be in.
type member struct {
	Ring     string   `json:"ring"`
	Secret   string   `json:"secret"`
	Standing standing `json:"standing,omitempty"`
	Founds   bool     `json:"founds,omitempty"`
	Early    bool     `json:"early,omitempty"`  // it joins a ring that has no data yet
	Tokens   []string `json:"tokens,omitempty"` // where its parts begin; none: the server finds out where the ring needs some
	// Others are the addresses of those members that the server knows. It looks for some of them when it starts.
	Others []string `json:"others,omitempty"`
	// Cleaned are those that were there when the server last dropped what others had taken over from it.
	Cleaned []string `json:"cleaned,omitempty"`
	// Unequal: keyspaces got more copies, and not yet all that belongs into these.
	Unequal bool `json:"unequal,omitempty"`
}

// loadMember is nil of a server that has no ring.
func (m *Manager) loadMember() (in *member, err error) {
	err = m.own.LoadJSON(memberFile, &in)
	return in, err
}

func (m *Manager) saveMember(in *member) error { return m.own.SaveJSON(memberFile, in) }

// isOut reports whether only the guest gets in.
func (in *member) isOut() bool {
	return in != nil && (in.Standing == outside || in.Standing == outgoing)
}

// isIn reports whether it is one of several servers that know each other.
func (in *member) isIn() bool {
	return in != nil && (in.Standing == joining || in.Standing == inside)
}

// evenly are the tokens of the member at a place among so many who begin a ring together: all get parts of one size.
func evenly(place, members int) (at []string) {
	all := big.NewInt(int64(members) * tokens)
	for k := range tokens {
		n := new(big.Int).Lsh(big.NewInt(int64(k*members+place)), 64)
		n.Div(n, all)
		at = append(at, n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 63)).String())
	}
	return at
}

// ringSecret makes one for a purpose of that which all members share.
func ringSecret(ring, secret, purpose string, size int) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(secret), []byte(ring), purpose, size)
}

// ringPassword is that of the guests' account, which is one for the whole ring.
func ringPassword(ring, secret string) (string, error) {
	key, err := ringSecret(ring, secret, adminUser, secretSize)
	return base64.RawURLEncoding.EncodeToString(key), err
}

// ringIdentity is what members show each other: all have one key, and a certificate of it that each makes for itself.
func (in *member) ringIdentity() ([]byte, error) {
	raw, err := ringSecret(in.Ring, in.Secret, "identity", sha256.Size)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, fmt.Errorf("no key can be made of the ring's secret: %w", err)
	}
	return identityOf(key, in.Ring)
}

// ringSettings are those of a member's neighbourhood, and of a server alone.
func (m *Manager) ringSettings(in *member) []setting {
	if !in.isIn() {
		return []setting{{"cluster_name", m.env.InstanceID}, seeds(m.env.Address), {"num_tokens", tokens}}
	}
	settings := []setting{{"cluster_name", in.Ring}, {"num_tokens", tokens}}
	if len(in.Tokens) > 0 {
		settings = append(settings, setting{"initial_token", strings.Join(in.Tokens, ",")})
	} else {
		settings = append(settings, setting{"allocate_tokens_for_local_replication_factor", mostCopies})
	}
	// Who is a seed asks nobody for its part, and starts also when nobody else answers.
	if in.Founds || in.Standing == inside {
		return append(settings, seeds(append([]string{m.env.Address}, in.Others...)...))
	}
	return append(settings, seeds(in.Others...))
}

const seedsSetting = "seed_provider"

func seeds(addresses ...string) setting {
	var at []string
	for _, address := range addresses {
		at = append(at, fmt.Sprintf("%s:%d", address, storagePort))
	}
	return setting{seedsSetting, []any{map[string]any{
		"class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
		"parameters": []any{map[string]any{"seeds": strings.Join(at, ",")}},
	}}}
}

// ringArgs are Java's.
func (in *member) ringArgs() []string {
	if !in.isIn() {
		// One server alone has nobody to wait for.
		return []string{"-Dcassandra.ring_delay_ms=0", "-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.shutdown_announce_in_ms=0"}
	}
	args := []string{"-Dcassandra.skip_wait_for_gossip_to_settle=0"} // a start waits until the server reaches enough others: see awaitRing
	if in.Standing == joining && in.Early {
		args = append(args, "-Dcassandra.consistent.rangemovement=false") // others join at the same time: all get all from the founder
	}
	return args
}

// becomeMember keeps that the server will be in a ring.
func (m *Manager) becomeMember(v *datastores.ClusterView) error {
	if v == nil {
		return nil
	}
	in, err := m.loadMember()
	if err != nil || in != nil && in.Ring == v.ID {
		return err
	}
	return m.saveMember(&member{Ring: v.ID, Secret: v.Secret.Reveal()})
}

// place is where a member is among all.
func place(v datastores.ClusterView) int {
	return slices.IndexFunc(v.Members, func(c datastores.ClusterMember) bool { return c.ID == v.Self })
}
