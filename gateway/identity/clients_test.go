package identity

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
)

// gophercloud, and so Terraform's provider: by password, by name or id, and with a static token.
func TestGophercloud(t *testing.T) {
	r := newRig(t)
	shop := r.project(t, "shop")
	r.user(t, "alice", "alice's password", shop, Member)
	byPassword := gophercloud.AuthOptions{
		Username: "alice", Password: "alice's password", DomainName: "Default", TenantName: "shop", AllowReauth: true,
	}
	byID := byPassword
	byID.TenantName, byID.TenantID = "", shop
	for _, test := range []struct {
		name, url, project string
		opts               gophercloud.AuthOptions
	}{
		{"password", "/v3", shop, byPassword},
		{"password, unversioned address", "", shop, byPassword},
		{"password, project id", "/v3/", shop, byID},
		{"static token", "/v3", "lab", gophercloud.AuthOptions{TokenID: labToken}},
		{"static token for any project", "/v3", shop, gophercloud.AuthOptions{
			TokenID: ciToken, Scope: &gophercloud.AuthScope{ProjectName: "shop", DomainName: "Default"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.opts.IdentityEndpoint = r.server.URL + Path + test.url
			provider, err := openstack.AuthenticatedClient(t.Context(), test.opts)
			if err != nil {
				t.Fatal(err)
			}
			db, err := openstack.NewDBV1(provider, gophercloud.EndpointOpts{Region: "RegionOne"})
			if err != nil {
				t.Fatal(err)
			}
			if want := r.server.URL + "/v1.0/" + test.project + "/"; db.Endpoint != want {
				t.Errorf("got %s, want %s", db.Endpoint, want)
			}
			if who, err := r.service.resolve(t.Context(), provider.Token()); err != nil || !who.Member() {
				t.Error(who, err)
			}
			keystone, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := projects.Get(t.Context(), keystone, test.project).Extract()
			if err != nil || got.ID != test.project || !got.Enabled {
				t.Error(got, err)
			}
		})
	}
}

// openstackCLI is Debian's command, with the environment of somebody who logs in.
type openstackCLI struct {
	path string
	env  []string
}

func (r *rig) openstack(t *testing.T, user, password, project string) openstackCLI {
	t.Helper()
	path, err := exec.LookPath("openstack")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the openstack client is not installed: apt-get install python3-openstackclient")
		}
		t.Skip("SKIPPED: the openstack client is not installed, so nobody checked that it can log in")
	}
	home := t.TempDir()
	return openstackCLI{path, []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "OS_CLIENT_CONFIG_FILE=" + filepath.Join(home, "clouds.yaml"),
		"OS_AUTH_URL=" + r.server.URL + Path + "/v3", "OS_IDENTITY_API_VERSION=3", "OS_USERNAME=" + user, "OS_PASSWORD=" + password,
		"OS_PROJECT_NAME=" + project, "OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default",
	}}
}

// run returns what the command printed, and fails when it failed.
func (c openstackCLI) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.path, args...)
	cmd.Env = c.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openstack %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// What docs/identity.md tells operators to type.
func TestOpenstackClient(t *testing.T) {
	r := newRig(t)
	admin := r.openstack(t, "admin", r.password, "admin")
	expect := func(c openstackCLI, want string, args ...string) string {
		t.Helper()
		got := c.run(t, args...)
		if !strings.Contains(got, want) {
			t.Errorf("openstack %s: got\n%s\nwant %q in it", strings.Join(args, " "), got, want)
		}
		return got
	}
	r.secrets = append(r.secrets, "alice's password", "alice's new one", expect(admin, tokenPrefix, "token", "issue", "-f", "value", "-c", "id"))
	expect(admin, "/v1.0/", "catalog", "list")
	shop := expect(admin, "", "project", "create", "--description", "the web shop", "shop", "-f", "value", "-c", "id")
	expect(admin, "shop", "project", "list")
	alice := expect(admin, "", "user", "create", "--project", "shop", "--password", "alice's password", "alice", "-f", "value", "-c", "id")
	expect(admin, "", "role", "add", "--user", "alice", "--project", "shop", "member")
	expect(admin, "alice@Default", "role", "assignment", "list", "--names")
	expect(admin, alice, "user", "show", "alice")
	expect(admin, "member", "role", "list")

	her := r.openstack(t, "alice", "alice's password", "shop")
	expect(her, shop, "token", "issue", "-f", "value", "-c", "project_id")
	expect(her, "shop", "project", "list", "--my-projects")
	expect(her, shop, "project", "show", "shop")
	expect(her, "", "user", "password", "set", "--original-password", "alice's password", "--password", "alice's new one")
	her = r.openstack(t, "alice", "alice's new one", "shop")
	token := expect(her, tokenPrefix, "token", "issue", "-f", "value", "-c", "id")
	r.secrets = append(r.secrets, token)
	expect(her, "", "token", "revoke", token)
	r.call(t, 401, token, "GET", "/v3/auth/projects", "")

	rescue := openstackCLI{admin.path, []string{
		admin.env[0], admin.env[1], admin.env[2], "OS_AUTH_TYPE=admin_token", "OS_TOKEN=" + ciToken,
		"OS_ENDPOINT=" + r.server.URL + Path + "/v3", "OS_IDENTITY_API_VERSION=3",
	}}
	r.secrets = append(r.secrets, "the way back in")
	expect(rescue, "", "user", "set", "--password", "the way back in", "admin")
	admin = r.openstack(t, "admin", "the way back in", "admin")
	expect(admin, "", "role", "remove", "--user", "alice", "--project", "shop", "member")
	expect(admin, "", "user", "set", "--disable", "alice")
	expect(admin, "", "user", "delete", "alice")
	expect(admin, "", "project", "delete", "shop")
}
