package double

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"time"
)

// state is what all nodes of a cluster know. A node that is not in one, not even its own, has none.
type state struct {
	Rev      int                          `json:"rev"`
	UUID     string                       `json:"uuid"`
	Cookie   string                       `json:"cookie"` // by which nodes know each other
	Name     string                       `json:"name"`
	Version  string                       `json:"version"` // of the data
	Admin    secret                       `json:"admin"`
	Nodes    []member                     `json:"nodes"`
	Quotas   map[string]int               `json:"quotas"` // MiB, by parameter
	Buckets  map[string]*bucket           `json:"buckets"`
	Users    map[string]*user             `json:"users"`
	Settings map[string]map[string]string `json:"settings"` // by endpoint
	Failures int                          `json:"failures"` // nodes that were failed over automatically since the last reset
	Balanced bool                         `json:"balanced"`
}

// member is a node of the cluster. Its name is ns_1@ and its host.
type member struct {
	Host       string   `json:"host"`
	Membership string   `json:"membership"`
	Services   []string `json:"services"`
	Recovery   string   `json:"recovery,omitempty"` // of a node that was failed over and shall be back: full or delta
}

// What a node is in its cluster, in the words of clusterMembership.
const (
	active         = "active"
	inactiveAdded  = "inactiveAdded"
	inactiveFailed = "inactiveFailed"
)

type bucket struct {
	UUID       string     `json:"uuid"`
	Quota      int        `json:"quota"` // MiB on each node
	Replicas   int        `json:"replicas"`
	Type       string     `json:"type"`
	Durability string     `json:"durability"`
	Backend    string     `json:"backend"`
	Map        [][]string `json:"map"` // of each vBucket the hosts, the active one first
}

type user struct {
	secret
	Roles   []role    `json:"roles"`
	Changed time.Time `json:"changed"`
}

type role struct {
	Name   string `json:"role"`
	Bucket string `json:"bucket_name,omitempty"`
}

// secret is a name and what is kept of a password.
type secret struct {
	Name string `json:"name"`
	Salt string `json:"salt"`
	Hash string `json:"hash"`
}

func newSecret(name, password string) secret {
	s := secret{Name: name, Salt: rand.Text()}
	s.Hash = s.hash(password)
	return s
}

func (s secret) hash(password string) string {
	sum := sha256.Sum256([]byte(s.Salt + password))
	return hex.EncodeToString(sum[:])
}

func (s secret) is(name, password string) bool {
	return name == s.Name && s.Name != "" && subtle.ConstantTimeCompare([]byte(s.hash(password)), []byte(s.Hash)) == 1
}

func (s *state) clone() *state {
	var c state
	b, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		panic(err) // it consists of what JSON knows
	}
	return &c
}

func (s *state) member(host string) *member {
	for i := range s.Nodes {
		if s.Nodes[i].Host == host {
			return &s.Nodes[i]
		}
	}
	return nil
}

// hosts are those of the nodes that are this.
func (s *state) hosts(membership string) (hosts []string) {
	for _, m := range s.Nodes {
		if m.Membership == membership {
			hosts = append(hosts, m.Host)
		}
	}
	return hosts
}
