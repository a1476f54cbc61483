// Package demo shows the main job: every command is one that its audience can type, run for real.
package demo

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

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/launch"
)

// Demo is the show. The zero value of what is not said to be needed is fine.
type Demo struct {
	Out   io.Writer     // needed: what the audience sees
	Bars  io.Writer     // a terminal, on which commands show their progress in place; nil: they write lines to Out
	Stage launch.Config // needed: what is started for it, but for the directory, the addresses and the users, which it chooses
	// Coffer is the program whose commands are shown; needed. It returns the exit code.
	Coffer func(ctx context.Context, args []string, in io.Reader, out, errs io.Writer, getenv func(string) string) int
	// Clear deletes everything on the stage and stops it; needed.
	Clear func(ctx context.Context, s *launch.Stage) error
}

// show is a demo that runs.
type show struct {
	Demo
	engines
	ctx    context.Context
	stage  *launch.Stage
	tenant map[string]string // environment of alice, who logs in
	begun  time.Time
	steps  int
}

// Run shows everything, and leaves nothing of it behind, also when it fails.
func (d Demo) Run(ctx context.Context) (err error) {
	if err := ready(d.Out); err != nil {
		return err
	}
	cfg := d.Stage
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
	s := &show{Demo: d, ctx: ctx, begun: time.Now()}
	s.step("A gateway with etcd inside, and a host that enrols at it")
	cfg.Say = s.note
	s.stage, err = launch.Start(ctx, cfg)
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.Join(err, os.RemoveAll(cfg.Dir))
	case err != nil:
		return fmt.Errorf("%w; the logs are in %s", err, cfg.Dir)
	}
	defer func() { err = errors.Join(err, s.clean()) }()
	acts := []func() error{s.openProject, s.lookAround, s.redis, s.mariadb, s.restore, s.restart, s.root, s.remove, s.cluster}
	for _, act := range acts {
		if err := act(); err != nil {
			return err
		}
	}
	fmt.Fprintf(d.Out, "\nDone in %s. `task up` runs the same and stays.\n", elapsed(s.begun))
	return nil
}

// ready tells what this machine lacks, and what it will do without.
func ready(out io.Writer) error {
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
		fmt.Fprintf(out, "Not installed: %s; the host will do it.\n", list)
	case os.Geteuid() != 0 && list != "":
		return fmt.Errorf("missing, and only root may install it: sudo apt-get install --no-install-recommends %s", list)
	case os.Geteuid() != 0:
		fmt.Fprintln(out, "Not root: the databases run as you, without sandboxes, volumes, limits of memory or firewall rules of their own.")
	}
	return nil
}

// openProject is the operator's part: a project, and a user who may work in it.
func (s *show) openProject() error {
	s.step("The operator opens a project for a tenant (Keystone's API, built in)")
	chief := gophercloud.AuthOptions{
		IdentityEndpoint: s.stage.URL + "/identity/v3", Username: "admin", Password: s.stage.Password, DomainName: "Default", TenantName: "admin",
	}
	provider, err := openstack.NewClient(chief.IdentityEndpoint)
	if err != nil {
		return err
	}
	provider.HTTPClient = s.stage.HTTP
	if err := openstack.Authenticate(s.ctx, provider, chief); err != nil {
		return err
	}
	keystone, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
	if err != nil {
		return err
	}
	project, err := projects.Create(s.ctx, keystone, projects.CreateOpts{Name: "shop"}).Extract()
	if err != nil {
		return err
	}
	password := rand.Text()
	alice, err := users.Create(s.ctx, keystone, users.CreateOpts{Name: "alice", Password: password, DefaultProjectID: project.ID}).Extract()
	if err != nil {
		return err
	}
	page, err := roles.List(keystone, roles.ListOpts{Name: "member"}).AllPages(s.ctx)
	if err != nil {
		return err
	}
	found, err := roles.ExtractRoles(page)
	if err != nil || len(found) != 1 {
		return fmt.Errorf("there is no role member: %w", err)
	}
	err = roles.Assign(s.ctx, keystone, found[0].ID, roles.AssignOpts{UserID: alice.ID, ProjectID: project.ID}).ExtractErr()
	if err != nil {
		return err
	}
	s.tenant = map[string]string{
		"OS_AUTH_URL": s.stage.URL + "/identity/v3", "OS_USERNAME": "alice", "OS_PASSWORD": password, "OS_PROJECT_NAME": "shop", "OS_CACERT": s.stage.CA,
	}
	s.note("project shop, user alice with the role member")
	return nil
}

func (s *show) lookAround() error {
	s.step("The tenant logs in and looks at what there is")
	for _, args := range []string{"whoami", "datastore list", "flavor list"} {
		if err := s.coffer("", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the instances as the tenant would.
func (s *show) remove() error {
	s.step("Deleted: guest, database server, volume, address, rules and all; the backup, too")
	for _, args := range []string{"instance delete cache --wait", "instance delete orders --wait", "instance delete yesterday --wait", "backup delete nightly", "quota show"} {
		if err := s.coffer("", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

// clean ends everything, however far the demo has come.
func (s *show) clean() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Minute)
	defer cancel()
	if err := s.Clear(ctx, s.stage); err != nil {
		return fmt.Errorf("cannot clean up: %w; what is left is in %s", err, s.stage.Dir)
	}
	return os.RemoveAll(s.stage.Dir)
}

func (s *show) step(title string) {
	s.steps++
	fmt.Fprintf(s.Out, "\n%d. %s  [%s]\n", s.steps, title, elapsed(s.begun))
}

func (s *show) note(format string, args ...any) { fmt.Fprintf(s.Out, "   "+format+"\n", args...) }

func elapsed(since time.Time) time.Duration {
	return time.Since(since).Round(100 * time.Millisecond)
}

// coffer runs a command of this program as the tenant, and shows it. stdin is for secrets.
func (s *show) coffer(stdin string, args ...string) error {
	return s.run(s.Out, stdin, args...)
}

// read runs a command whose answer holds a secret: it is read, not shown.
func (s *show) read(answer any, args ...string) error {
	var out bytes.Buffer
	if err := s.run(&out, "", append(args, "--output", "json")...); err != nil {
		return err
	}
	return json.Unmarshal(out.Bytes(), answer)
}

func (s *show) run(out io.Writer, stdin string, args ...string) error {
	fmt.Fprintf(s.Out, "   $ coffer %s\n", strings.Join(args, " "))
	began := time.Now()
	if err := s.call(out, stdin, args...); err != nil {
		return err
	}
	if took := elapsed(began); took >= time.Second {
		s.note("(%s)", took)
	}
	return nil
}

// ask runs a command that is not part of the show.
func (s *show) ask(answer any, args ...string) error {
	var out bytes.Buffer
	if err := s.call(&out, "", append(args, "--output", "json")...); err != nil {
		return err
	}
	return json.Unmarshal(out.Bytes(), answer)
}

func (s *show) call(out io.Writer, stdin string, args ...string) error {
	indent := &indenter{w: s.Out}
	if out == s.Out {
		out = indent
	}
	errs := s.Bars
	if errs == nil {
		errs = indent
	}
	code := s.Coffer(s.ctx, args, strings.NewReader(stdin), out, errs, func(name string) string { return s.tenant[name] })
	if code != 0 {
		return fmt.Errorf("`coffer %s` ended with %d", strings.Join(args, " "), code)
	}
	return nil
}

// address is where an instance of the tenant's is reached.
func (s *show) address(name string) (string, error) {
	var in dbext.Instance
	if err := s.ask(&in, "instance", "show", name); err != nil {
		return "", err
	}
	if len(in.Addresses) == 0 {
		return "", fmt.Errorf("%s has no address", name)
	}
	return in.Addresses[0].Address, nil
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
