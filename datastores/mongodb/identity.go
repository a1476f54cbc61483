package mongodb

import (
	"crypto/rand"
	"errors"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// identity is what a server is in its replica set. The file is the guest's, 0600: it holds passwords.
type identity struct {
	Set    string  `json:"set"`   // the set's name
	Key    string  `json:"key"`   // by which members of the set know each other
	Admin  string  `json:"admin"` // the password of the guest's account, which is one in all of the set
	Ready  bool    `json:"ready,omitempty"`
	Synced bool    `json:"synced,omitempty"` // of a replica: it has had the data of the set
	Source *source `json:"source,omitempty"` // whom a replica follows; nil: nobody
	// Cluster is of which cluster it is a member; nil: of none.
	Cluster *membership `json:"cluster,omitempty"`
	// Leaves: the server is leaving its set to be one of its own, with this identity.
	Leaves bool `json:"leaves,omitempty"`
}

// source is the server that a replica follows.
type source struct {
	Address string `json:"address"`
	ID      string `json:"id"`
}

const identityFile = "mongodb-identity.json"

// newSet is the identity of a set of its own. Names and keys are letters and digits, which a key file takes (base64).
func newSet() identity {
	return identity{Set: "coffer-" + strings.ToLower(rand.Text()[:16]), Key: rand.Text() + rand.Text()}
}

// makeIdentity returns the server's identity, and makes one when there is none: a set of its own, or a member's of a cluster.
func (m *Manager) makeIdentity(v *datastores.ClusterView) (identity, error) {
	if v != nil {
		return m.beMember(*v)
	}
	id, err := m.identity()
	if err != nil || id.Set != "" {
		return id, err
	}
	id = newSet()
	id.Admin = rand.Text()
	return id, m.own.SaveJSON(identityFile, id)
}

func (m *Manager) identity() (id identity, err error) {
	err = m.own.LoadJSON(identityFile, &id)
	return id, err
}

func (m *Manager) change(change func(*identity)) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	if id.Set == "" {
		return errors.New("the instance is not prepared")
	}
	change(&id)
	return m.own.SaveJSON(identityFile, id)
}
