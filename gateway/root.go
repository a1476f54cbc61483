package gateway

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// newPassword makes a password of 36 letters and digits (Trove's default_password_length), about 200 bits.
func newPassword() string { return (rand.Text() + rand.Text())[:36] }

func (g *Gateway) showRoot(r *request) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]bool{"rootEnabled": in.RootEnabled}}, nil
}

// enableRoot takes the client's password, or makes one. The password goes to the guest sealed and to the client in the
// answer, and is stored nowhere.
func (g *Gateway) enableRoot(r *request) (reply, error) {
	body, err := decode[struct {
		Password *string `json:"password"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	password := newPassword()
	if body.Password != nil {
		password = *body.Password
		if err := checkPassword("root", password, nameRules{}); err != nil {
			return reply{}, err
		}
	}
	var root datastores.RootReply
	args := datastores.RootArgs{Password: datastores.NewSecret(password).ForSealing()}
	failed, err := g.callSet(r, datastores.MethodEnableRoot, args, &root)
	if err != nil {
		return reply{}, err
	}
	answer := map[string]any{"user": map[string]string{"name": root.Name, "password": password}}
	if len(failed) > 0 {
		answer["failed_slaves"] = failed // Trove's word
	}
	return reply{http.StatusOK, answer}, nil
}

func (g *Gateway) disableRoot(r *request) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	if in.RootEnabledAt.IsZero() {
		return reply{}, faultf(itemNotFound, "Root was never enabled on instance %s.", in.ID)
	}
	failed, err := g.callSet(r, datastores.MethodDisableRoot, nil, nil)
	if err == nil && len(failed) > 0 {
		return reply{http.StatusOK, map[string]any{"failed_slaves": failed}}, nil
	}
	return reply{status: http.StatusNoContent}, err
}

// rootChange is what has become of a server's root.
type rootChange struct {
	on bool
	by string // who enabled it
	at time.Time
}

// apply keeps who has enabled root first, and when, after it was disabled.
func (c rootChange) apply(in *etcdschema.Instance) {
	in.RootEnabled = c.on
	if c.on && in.RootEnabledAt.IsZero() {
		in.RootEnabledAt, in.RootEnabledBy = c.at, c.by
	}
}

// rememberRoot records a change of a server's root. Replicas have their source's, but where every server has users of its own.
func (g *Gateway) rememberRoot(s etcdschema.Snapshot, in etcdschema.Instance, c rootChange) (moves, error) {
	c.apply(&in)
	m := moves{after: in, ops: []etcdschema.Op{etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in)}}
	if in.UsersPerServer {
		return m, nil
	}
	for _, id := range in.Replicas {
		key := etcdschema.InstanceKey(in.Project, id)
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return m, err
		}
		if rec.Found {
			c.apply(&rec.Value)
			m.ops = append(m.ops, etcdschema.Put(key, rec.Value))
		}
	}
	return m, nil
}

// asPrepared records what a new server's guest says of it: whether it takes TLS, and whether there is root, which a backup brings along.
// A guest of an earlier version says nothing.
func asPrepared(in *etcdschema.Instance, said json.RawMessage, now time.Time) {
	var reply datastores.PrepareReply
	if err := json.Unmarshal(said, &reply); err != nil {
		return
	}
	in.Service.TLS = reply.TLS
	if reply.RootEnabled == nil {
		return
	}
	c := rootChange{on: *reply.RootEnabled, at: now}
	if len(in.Restore) > 0 {
		c.by = "backup " + in.Restore[len(in.Restore)-1]
	}
	c.apply(in)
}

// mgmtShowRoot tells who enabled root first, and when.
func (g *Gateway) mgmtShowRoot(r *request) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	enabled, by := "Never", "Nobody"
	if !in.RootEnabledAt.IsZero() {
		enabled, by = stamp(in.RootEnabledAt), in.RootEnabledBy
	}
	return reply{http.StatusOK, map[string]any{"root_history": map[string]string{"id": in.ID, "enabled": enabled, "user": by}}}, nil
}
