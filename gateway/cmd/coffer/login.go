package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

// answerTimeout is how long one request may take. The slowest are those that wait for a guest.
const answerTimeout = 5 * time.Minute

// withTimeout limits a command by --timeout.
func (a *app) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.timeout)
}

// api makes a command that talks to the gateway.
func (a *app) api(use, short string, run func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error) *cobra.Command {
	cmd := simple(use, short, func(cmd *cobra.Command, args []string) error {
		ctx, cancel := a.withTimeout(cmd.Context())
		defer cancel()
		c, err := a.login(ctx)
		if err != nil {
			return err
		}
		err = run(ctx, c, args)
		if f := (*dbext.Plan)(nil); errors.As(err, &f) {
			return a.printPlan(f)
		}
		return err
	})
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and do nothing")
	return cmd
}

// login makes the client of the database service.
func (a *app) login(ctx context.Context) (*gophercloud.ServiceClient, error) {
	httpClient, err := a.httpClient()
	if err != nil {
		return nil, err
	}
	if a.dryRun {
		httpClient.Transport = dbext.DryRun{Next: cmp.Or[http.RoundTripper](httpClient.Transport, http.DefaultTransport)}
	}
	if endpoint := cmp.Or(a.endpoint, a.getenv("COFFER_ENDPOINT"), a.getenv("OS_ENDPOINT")); endpoint != "" {
		token := cmp.Or(a.token, a.getenv("COFFER_TOKEN"), a.getenv("OS_TOKEN"))
		return direct(endpoint, token, httpClient)
	}
	opts, err := a.credentials()
	if err != nil {
		return nil, err
	}
	provider, err := openstack.NewClient(opts.IdentityEndpoint)
	if err != nil {
		return nil, usagef("OS_AUTH_URL: %w", err)
	}
	provider.HTTPClient = httpClient
	if err := openstack.Authenticate(ctx, provider, opts); err != nil {
		return nil, loginError(err, opts)
	}
	return openstack.NewDBV1(provider, gophercloud.EndpointOpts{Region: a.getenv("OS_REGION_NAME")})
}

// loginError says who could not log in where.
func loginError(err error, opts gophercloud.AuthOptions) error {
	if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
		who := cmp.Or(opts.Username, opts.UserID, "the token")
		return &codedError{exitNotAllowed, fmt.Errorf("%s cannot log in at %s: the user, password or project is wrong", who, opts.IdentityEndpoint)}
	}
	return err
}

// direct makes a client without a login.
func direct(endpoint, token string, httpClient http.Client) (*gophercloud.ServiceClient, error) {
	if !strings.Contains(endpoint, "/v1.0/") {
		return nil, usagef("endpoint %q: want the project's URL, such as http://127.0.0.1:8779/v1.0/PROJECT", endpoint)
	}
	provider := &gophercloud.ProviderClient{TokenID: token, HTTPClient: httpClient}
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: gophercloud.NormalizeURL(endpoint), Type: "database"}, nil
}

// credentials reads the environment of openstack clients.
func (a *app) credentials() (gophercloud.AuthOptions, error) {
	env := a.getenv
	opts := gophercloud.AuthOptions{
		IdentityEndpoint: env("OS_AUTH_URL"),
		Username:         env("OS_USERNAME"), UserID: cmp.Or(env("OS_USER_ID"), env("OS_USERID")),
		Password: env("OS_PASSWORD"), TokenID: cmp.Or(a.token, env("COFFER_TOKEN"), env("OS_TOKEN")),
		AllowReauth: true,
	}
	if opts.IdentityEndpoint == "" {
		return opts, usagef("not logged in: set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME (`coffer up` writes them to .coffer/openrc), or give --endpoint")
	}
	project := gophercloud.AuthScope{ProjectID: cmp.Or(env("OS_PROJECT_ID"), env("OS_TENANT_ID"))}
	if project.ProjectID == "" {
		project.ProjectName = cmp.Or(env("OS_PROJECT_NAME"), env("OS_TENANT_NAME"))
		project.DomainID, project.DomainName = domain(env, "OS_PROJECT_DOMAIN")
	}
	if project.ProjectID == "" && project.ProjectName == "" {
		return opts, usagef("which project? Set OS_PROJECT_NAME or OS_PROJECT_ID")
	}
	opts.Scope = &project
	if opts.Username == "" && opts.UserID == "" {
		if opts.TokenID == "" {
			return opts, usagef("who logs in? Set OS_USERNAME and OS_PASSWORD, or OS_TOKEN")
		}
		opts.AllowReauth = false
		return opts, nil
	}
	if opts.TokenID = ""; opts.Password == "" {
		return opts, usagef("OS_PASSWORD is not set")
	}
	if opts.UserID == "" {
		opts.DomainID, opts.DomainName = domain(env, "OS_USER_DOMAIN")
	} else {
		opts.Username = ""
	}
	return opts, nil
}

// domain reads a domain's id or name; "Default" when neither is set. gophercloud takes one of them only.
func domain(env func(string) string, prefix string) (id, name string) {
	if id = cmp.Or(env(prefix+"_ID"), env("OS_DOMAIN_ID")); id != "" {
		return id, ""
	}
	return "", cmp.Or(env(prefix+"_NAME"), env("OS_DOMAIN_NAME"), "Default")
}

func (a *app) httpClient() (http.Client, error) {
	return trusting(cmp.Or(a.cacert, a.getenv("OS_CACERT")))
}

// trusting makes a client that trusts the CA of a PEM file only, or the system's when there is none.
func trusting(file string) (http.Client, error) {
	client := http.Client{Timeout: answerTimeout}
	if file == "" {
		return client, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return client, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return client, fmt.Errorf("%s holds no certificate", file)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	client.Transport = transport
	return client, nil
}

// projectOf is the project that a client works in.
func projectOf(c *gophercloud.ServiceClient) string { return path.Base(c.Endpoint) }

// identityView is who somebody is.
type identityView struct {
	User     string   `json:"user,omitempty"`
	Project  string   `json:"project"`
	Name     string   `json:"project_name,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	Expires  string   `json:"expires,omitempty"`
	Endpoint string   `json:"endpoint"`
}

func (a *app) whoamiCommand() *cobra.Command {
	return a.api("whoami", "Check the login: user, project, roles", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
		v := identityView{Project: projectOf(c), Endpoint: c.Endpoint}
		if err := describe(ctx, c, &v); err != nil {
			return err
		}
		return a.print(v, fields{
			{"user", v.User}, {"project", strings.TrimSpace(v.Name + " " + v.Project)}, {"roles", strings.Join(v.Roles, ", ")},
			{"expires", v.Expires}, {"endpoint", v.Endpoint},
		})
	})
}

// describe asks the identity service about the token, or, without one, the gateway whether it takes it.
func describe(ctx context.Context, c *gophercloud.ServiceClient, v *identityView) error {
	if c.IdentityEndpoint == "" {
		_, err := c.Get(ctx, c.ServiceURL("limits"), nil, nil)
		return err
	}
	keystone, err := openstack.NewIdentityV3(c.ProviderClient, gophercloud.EndpointOpts{})
	if err != nil {
		return err
	}
	token := tokens.Get(ctx, keystone, c.Token())
	user, err1 := token.ExtractUser()
	project, err2 := token.ExtractProject()
	roles, err3 := token.ExtractRoles()
	expires, err4 := token.ExtractToken()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	v.User, v.Name, v.Expires = user.Name, project.Name, expires.ExpiresAt.UTC().Format(time.RFC3339)
	for _, role := range roles {
		v.Roles = append(v.Roles, role.Name)
	}
	return nil
}
