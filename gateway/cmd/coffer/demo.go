package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/launch"
)

// demo is a show of the main job: every command is one that its audience can type, run for real.
type demo struct {
	*app
	engines
	ctx    context.Context
	stage  *launch.Stage
	tenant map[string]string // environment of alice, who logs in
	begun  time.Time
	steps  int
}

func (a *app) demoCommand() *cobra.Command {
	cfg := a.stageConfig()
	cfg.Listen = "127.0.0.1:0"
	cmd := simple("demo", "Show the main job, on real databases, and clean up", func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := a.withTimeout(cmd.Context())
		defer cancel()
		return a.demo(ctx, cfg)
	})
	cmd.Hidden = true
	stageFlags(&cfg, cmd)
	return cmd
}

func (a *app) demo(ctx context.Context, cfg launch.Config) (err error) {
	if err := a.ready(); err != nil {
		return err
	}
	if cfg.Dir, err = os.MkdirTemp("", "coffer-demo-"); err != nil {
		return err
	}
	if err := os.Chmod(cfg.Dir, 0o711); err != nil { // see Stage.HostDir
		return err
	}
	corner := mathrand.IntN(250) // of this machine, which no other demo is likely to have
	cfg.Firewall = fmt.Sprintf("coffer_demo_%d", corner)
	first := 0x78000000 + corner*64*1024
	cfg.IDs = fmt.Sprintf("%d-%d", first, first+64*1024-1)
	net := 10
	if os.Geteuid() != 0 {
		net = 127
	}
	cfg.Host = []string{"-address-pool", fmt.Sprintf("%d.79.%d.0/24", net, corner)}
	d := &demo{app: a, ctx: ctx, begun: time.Now()}
	d.step("A gateway with etcd inside, and a host that enrols at it")
	cfg.Say = d.note
	d.stage, err = launch.Start(ctx, cfg)
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.Join(err, os.RemoveAll(cfg.Dir))
	case err != nil:
		return fmt.Errorf("%w; the logs are in %s", err, cfg.Dir)
	}
	defer func() { err = errors.Join(err, d.clean()) }()
	acts := []func() error{d.openProject, d.lookAround, d.redis, d.mariadb, d.restore, d.restart, d.root, d.remove}
	for _, act := range acts {
		if err := act(); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "\nDone in %s. `task up` runs the same and stays.\n", d.elapsed(d.begun))
	return nil
}

// ready tells what this machine lacks, and what it will do without.
func (a *app) ready() error {
	programs := map[string]string{"/usr/bin/redis-server": "redis-server", "/usr/sbin/mariadbd": "mariadb-server", "/usr/bin/mariadb-backup": "mariadb-backup"}
	var missing []string
	for program, pkg := range programs {
		if _, err := os.Stat(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	slices.Sort(missing)
	switch list := strings.Join(missing, " "); {
	case os.Geteuid() == 0 && list != "":
		fmt.Fprintf(a.out, "Not installed: %s; the host will do it.\n", list)
	case os.Geteuid() != 0 && list != "":
		return fmt.Errorf("missing, and only root may install it: sudo apt-get install --no-install-recommends %s", list)
	case os.Geteuid() != 0:
		fmt.Fprintln(a.out, "Not root: the databases run as you, without sandboxes, volumes, limits of memory or firewall rules of their own.")
	}
	return nil
}

// openProject is the operator's part: a project, and a user who may work in it.
func (d *demo) openProject() error {
	d.step("The operator opens a project for a tenant (Keystone's API, built in)")
	chief := gophercloud.AuthOptions{
		IdentityEndpoint: d.stage.URL + "/identity/v3", Username: "admin", Password: d.stage.Password, DomainName: "Default", TenantName: "admin",
	}
	provider, err := openstack.NewClient(chief.IdentityEndpoint)
	if err != nil {
		return err
	}
	provider.HTTPClient = d.stage.HTTP
	if err := openstack.Authenticate(d.ctx, provider, chief); err != nil {
		return err
	}
	keystone, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
	if err != nil {
		return err
	}
	project, err := projects.Create(d.ctx, keystone, projects.CreateOpts{Name: "shop"}).Extract()
	if err != nil {
		return err
	}
	password := rand.Text()
	alice, err := users.Create(d.ctx, keystone, users.CreateOpts{Name: "alice", Password: password, DefaultProjectID: project.ID}).Extract()
	if err != nil {
		return err
	}
	page, err := roles.List(keystone, roles.ListOpts{Name: "member"}).AllPages(d.ctx)
	if err != nil {
		return err
	}
	found, err := roles.ExtractRoles(page)
	if err != nil || len(found) != 1 {
		return fmt.Errorf("there is no role member: %w", err)
	}
	err = roles.Assign(d.ctx, keystone, found[0].ID, roles.AssignOpts{UserID: alice.ID, ProjectID: project.ID}).ExtractErr()
	if err != nil {
		return err
	}
	d.tenant = map[string]string{
		"OS_AUTH_URL": d.stage.URL + "/identity/v3", "OS_USERNAME": "alice", "OS_PASSWORD": password, "OS_PROJECT_NAME": "shop", "OS_CACERT": d.stage.CA,
	}
	d.note("project shop, user alice with the role member")
	return nil
}

func (d *demo) lookAround() error {
	d.step("The tenant logs in and looks at what there is")
	for _, args := range []string{"whoami", "datastore list", "flavor list"} {
		if err := d.coffer("", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the instances as the tenant would.
func (d *demo) remove() error {
	d.step("Deleted: guest, database server, volume, address, rules and all; the backup, too")
	for _, args := range []string{"instance delete cache --wait", "instance delete orders --wait", "instance delete yesterday --wait", "backup delete nightly", "quota show"} {
		if err := d.coffer("", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

// clean ends everything, however far the demo has come.
func (d *demo) clean() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), 5*time.Minute)
	defer cancel()
	if err := d.clear(ctx, d.stage, d.progress(d.out)); err != nil {
		return fmt.Errorf("cannot clean up: %w; what is left is in %s", err, d.stage.Dir)
	}
	return os.RemoveAll(d.stage.Dir)
}

func (d *demo) step(title string) {
	d.steps++
	fmt.Fprintf(d.out, "\n%d. %s  [%s]\n", d.steps, title, d.elapsed(d.begun))
}

func (d *demo) note(format string, args ...any) { fmt.Fprintf(d.out, "   "+format+"\n", args...) }

func (d *demo) elapsed(since time.Time) time.Duration {
	return time.Since(since).Round(100 * time.Millisecond)
}

// coffer runs a command of this program as the tenant, and shows it. stdin is for secrets.
func (d *demo) coffer(stdin string, args ...string) error {
	return d.run(d.out, stdin, args...)
}

// read runs a command whose answer holds a secret: it is read, not shown.
func (d *demo) read(answer any, args ...string) error {
	var out bytes.Buffer
	if err := d.run(&out, "", append(args, "--output", "json")...); err != nil {
		return err
	}
	return json.Unmarshal(out.Bytes(), answer)
}

func (d *demo) run(out io.Writer, stdin string, args ...string) error {
	fmt.Fprintf(d.out, "   $ coffer %s\n", strings.Join(args, " "))
	began := time.Now()
	indent := &indenter{w: d.out}
	if out == d.out {
		out = indent
	}
	errs := io.Writer(indent)
	if _, terminal := onTerminal(d.errs); terminal {
		errs = d.errs // as it is, for a bar that moves
	}
	code := run(d.ctx, args, strings.NewReader(stdin), out, errs, func(name string) string { return d.tenant[name] })
	if code != exitOK {
		return fmt.Errorf("`coffer %s` ended with %d", strings.Join(args, " "), code)
	}
	if took := d.elapsed(began); took >= time.Second {
		d.note("(%s)", took)
	}
	return nil
}

// address is where an instance of the tenant's is reached.
func (d *demo) address(name string) (string, error) {
	c, err := d.as(d.tenant).login(d.ctx)
	if err != nil {
		return "", err
	}
	id, err := findInstance(d.ctx, c, name)
	if err != nil {
		return "", err
	}
	in, err := dbext.GetInstance(d.ctx, c, id)
	if err != nil || len(in.Addresses) == 0 {
		return "", errors.Join(err, fmt.Errorf("%s has no address", name))
	}
	return in.Addresses[0].Address, nil
}

// as is an app of somebody else.
func (a *app) as(env map[string]string) *app {
	other := *a
	other.endpoint, other.token, other.cacert = "", "", ""
	other.getenv = func(name string) string { return env[name] }
	return &other
}

// indenter writes every line a little to the right.
type indenter struct {
	w      io.Writer
	inside bool // a line has begun
}

func (i *indenter) Write(b []byte) (int, error) {
	var out []byte
	for line := range bytes.Lines(b) {
		if !i.inside {
			out = append(out, "     "...)
		}
		out = append(out, line...)
		i.inside = line[len(line)-1] != '\n'
	}
	_, err := i.w.Write(out)
	return len(b), err
}
