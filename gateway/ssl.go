package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// sslView is how an instance's server speaks TLS, in Trove's words.
type sslView struct {
	Status          string              `json:"status"` // on, off
	Mode            datastores.TLSMode  `json:"mode,omitempty"`
	Certificate     *sslCertificateView `json:"certificate,omitempty"`
	RestartRequired *bool               `json:"restart_required,omitempty"`
}

type sslCertificateView struct {
	CN       string   `json:"cn"`
	ExpireAt string   `json:"expire_at"`
	SAN      []string `json:"san"`
	Payload  string   `json:"payload,omitempty"`
}

func viewSSL(is datastores.SSLReply) sslView {
	if !is.Mode.On() {
		return sslView{Status: "off"}
	}
	return sslView{Status: "on", Mode: is.Mode}
}

// sourceTakesTLS reports whether a replica is to follow an instance by TLS. An instance that was made before its version could do TLS has
// rules that let none in, whatever its guest says today.
func sourceTakesTLS(source etcdschema.Instance) bool {
	return source.Service.TLS.On() && slices.Contains(source.Capabilities, datastores.CanTLS)
}

// showSSL tells how the instance's server speaks TLS, and what its certificate is.
func (g *Gateway) showSSL(r *request) (reply, error) {
	var is datastores.SSLReply
	if err := g.callGuest(r, datastores.MethodSSLShow, nil, &is); err != nil {
		return reply{}, err
	}
	view := viewSSL(is)
	if c := is.Certificate; c != nil {
		view.Certificate = &sslCertificateView{CN: c.CN, ExpireAt: c.Expires.UTC().Format("2006-01-02T15:04:05.000000"), SAN: c.SAN}
		if isTrue(r.query("include_certificate")) {
			view.Certificate.Payload = c.PEM
		}
	}
	view.RestartRequired = &is.RestartRequired
	return reply{http.StatusOK, map[string]sslView{"ssl": view}}, nil
}

// sslRequest is what a change of TLS may say: one of the three, and a mode to enable.
type sslRequest struct {
	Enable       bool               `json:"enable"`
	Disable      bool               `json:"disable"`
	Rollback     bool               `json:"rollback"`
	Mode         datastores.TLSMode `json:"mode"`
	ContainerRef *string            `json:"container_ref"`
	PasswordRef  *string            `json:"password_ref"`
}

func (q sslRequest) check() error {
	asked := 0
	for _, one := range []bool{q.Enable, q.Disable, q.Rollback} {
		if one {
			asked++
		}
	}
	switch {
	case asked != 1:
		return faultf(badRequest, `Validation error: ssl must have one of "enable": true, "disable": true and "rollback": true.`)
	case q.ContainerRef != nil || q.PasswordRef != nil:
		return faultf(badRequest, "Validation error: ssl['container_ref'] and ssl['password_ref'] name secrets of a key manager, which there is none of here; leave them out: "+
			"the certificate is then of the project's own CA.")
	case q.Mode != "" && !q.Enable:
		return faultf(badRequest, `Validation error: ssl['mode'] goes with "enable": true.`)
	case q.Mode != "" && !q.Mode.On():
		return faultf(badRequest, "Validation error: ssl['mode'] must be %s (plain connections too) or %s (TLS alone).", datastores.TLSBasic, datastores.TLSEnforced)
	}
	return nil
}

// changeSSL has the instance's server, and its replicas, speak TLS otherwise: all of them, or none.
func (g *Gateway) changeSSL(r *request) (reply, error) {
	body, err := decode[struct {
		SSL *sslRequest `json:"ssl"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.SSL == nil {
		return reply{}, faultf(badRequest, "Validation error: 'ssl' is a required property.")
	}
	if err := body.SSL.check(); err != nil {
		return reply{}, err
	}
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	if in.ReplicaOf != "" {
		return reply{}, faultf(unprocessable, "Instance %s is a replica: it speaks TLS as its source %s does, so ask for it there.", in.ID, in.ReplicaOf)
	}
	is, err := g.speak(r, in, *body.SSL)
	if err != nil {
		return reply{}, err
	}
	view := viewSSL(is)
	view.RestartRequired = &is.RestartRequired
	return reply{http.StatusOK, map[string]sslView{"ssl": view}}, nil
}

// speak asks the server first, then its replicas, which are told at once whether they follow it by TLS. When one of them cannot, those
// that have changed go back.
func (g *Gateway) speak(r *request, in etcdschema.Instance, q sslRequest) (is datastores.SSLReply, err error) {
	method, args := datastores.MethodSSLAction, datastores.SSLArgs{Enable: q.Enable, Mode: q.Mode}
	if q.Rollback {
		method = datastores.MethodSSLRollback
	}
	if err := g.callInstance(r, in.ID, false, method, args, &is); err != nil {
		return is, err
	}
	args.Source = is.Mode.On()
	changed := []string{in.ID}
	for _, replica := range in.Replicas {
		var its datastores.SSLReply
		if err = g.callInstance(r, replica, true, method, args, &its); err != nil {
			break
		}
		changed = append(changed, replica)
		is.RestartRequired = is.RestartRequired || its.RestartRequired
	}
	if err == nil {
		return is, nil
	}
	back := *r
	back.ctx = context.WithoutCancel(r.ctx) // a client that has gone must not leave half of it
	was := datastores.SSLArgs{Enable: in.Service.TLS.On()}
	if was.Enable {
		was.Mode = in.Service.TLS
	}
	for _, id := range changed {
		was.Source = was.Enable && id != in.ID
		if undo := g.callInstance(&back, id, true, datastores.MethodSSLAction, was, nil); undo != nil {
			g.log.Warn("a server does not speak TLS as before", "instance_id", id, "err", undo)
			err = errors.Join(err, undo)
		}
	}
	return is, err
}

// showCA gives out the certificate of the CA that has signed those of the project's servers: what a client checks them with.
func (g *Gateway) showCA(r *request) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	ca, err := g.projectAuthority(r.ctx, in.Project)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"ca": map[string]string{
		"certificate": string(ca.PEM()), "server_name": datastores.ServerName(in.ID),
	}}}, nil
}
