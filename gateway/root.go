package gateway

import (
	"crypto/rand"
	"net/http"

	"github.com/cofferdb/coffer/datastores"
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
