package api

import (
	"net/http"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
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

// showSSL tells how the instance's server speaks TLS, and what its certificate is.
func (a *API) showSSL(r *request) (reply, error) {
	var is datastores.SSLReply
	if err := a.callGuest(r, datastores.MethodSSLShow, nil, &is); err != nil {
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

func (a *API) changeSSL(r *request) (reply, error) {
	body, err := decode[struct {
		SSL *control.SSLRequest `json:"ssl"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if body.SSL == nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: 'ssl' is a required property.")
	}
	is, err := a.Control.SetSSL(r.ctx, r.Caller, r.param("id"), *body.SSL)
	if err != nil {
		return reply{}, err
	}
	view := viewSSL(is)
	view.RestartRequired = &is.RestartRequired
	return reply{http.StatusOK, map[string]sslView{"ssl": view}}, nil
}

// showCA gives out the certificate of the CA that has signed those of the project's servers: what a client checks them with.
func (a *API) showCA(r *request) (reply, error) {
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	ca, err := a.Control.ProjectAuthority(r.ctx, in.Project)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"ca": map[string]string{
		"certificate": string(ca.PEM()), "server_name": datastores.ServerName(in.ID),
	}}}, nil
}
