package dbext

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// SSL is how an instance's server speaks TLS.
type SSL struct {
	Status          string          `json:"status"` // on, off
	Mode            string          `json:"mode,omitempty"`
	Certificate     *SSLCertificate `json:"certificate,omitempty"`
	RestartRequired bool            `json:"restart_required"`
}

// SSLCertificate is a server's certificate.
type SSLCertificate struct {
	CN       string   `json:"cn"`
	ExpireAt string   `json:"expire_at"` // UTC
	SAN      []string `json:"san"`
}

// GetSSL tells how an instance's server speaks TLS.
func GetSSL(ctx context.Context, c *gophercloud.ServiceClient, instance string) (SSL, error) {
	return get[SSL](ctx, c, "ssl", "instances", instance, "ssl")
}

// SSLChange is one of the three; Mode goes with Enable.
type SSLChange struct {
	Enable   bool   `json:"enable,omitempty"`
	Disable  bool   `json:"disable,omitempty"`
	Rollback bool   `json:"rollback,omitempty"`
	Mode     string `json:"mode,omitempty"` // basic, enforced
}

// ChangeSSL has a server and its replicas speak TLS otherwise.
func ChangeSSL(ctx context.Context, c *gophercloud.ServiceClient, instance string, to SSLChange) (SSL, error) {
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "instances", instance, "ssl"), map[string]SSLChange{"ssl": to}, http.StatusOK)
	return member[SSL](members, "ssl", err)
}

// CA is what a client checks an instance's server with.
type CA struct {
	Certificate string `json:"certificate"` // PEM
	ServerName  string `json:"server_name"` // is in the server's certificate, beside its address
}

// GetCA returns the CA of the project's servers.
func GetCA(ctx context.Context, c *gophercloud.ServiceClient, instance string) (CA, error) {
	return get[CA](ctx, c, "ca", "instances", instance, "ca")
}
