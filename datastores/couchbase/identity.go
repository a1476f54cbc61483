package couchbase

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"

	"github.com/cofferdb/coffer/datastores"
)

// identity is who the guest is at its server. The file is the guest's, 0600: it holds a password.
type identity struct {
	Admin   string `json:"admin"`             // the password of the guest's account, which is one in all of a cluster
	Cluster string `json:"cluster,omitempty"` // the id of the cluster of which the server is or will be a member
}

const (
	identityFile = "couchbase-identity.json"
	adminUser    = "os_admin" // the guest's own account, Trove's name for it
)

// clusterPassword is the password of the guests' account in a cluster: each member makes it of the secret that they share.
func clusterPassword(v datastores.ClusterView) string {
	mac := hmac.New(sha256.New, []byte(v.Secret.Reveal()))
	mac.Write([]byte("couchbase administrator of " + v.ID))
	return hex.EncodeToString(mac.Sum(nil))
}

// makeIdentity makes one when there is none.
func (m *Manager) makeIdentity(v *datastores.ClusterView) error {
	id, err := m.identity()
	if err != nil || id.Admin != "" {
		return err
	}
	id.Admin = rand.Text()
	if v != nil {
		id = identity{Admin: clusterPassword(*v), Cluster: v.ID}
	}
	return m.own.SaveJSON(identityFile, id)
}

func (m *Manager) identity() (id identity, err error) {
	err = m.own.LoadJSON(identityFile, &id)
	return id, err
}
