package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/definitions"
)

// stageConfig says where a gateway and a host of one machine live.
type stageConfig struct {
	bin         string // the programs; "": where this one is
	dir         string // everything that lasts
	definitions string // directory
	listen      string
	firewall    string   // nftables table of the host's own
	ids         string   // of the instances' users, which only this host gives
	host        []string // further flags of coffer-host
}

// stage is a gateway with its etcd and a host, on this machine, as children of this process: for development.
type stage struct {
	stageConfig
	app      *app
	say      func(format string, args ...any)
	url      string // of the gateway
	etcd     string
	ca       string // PEM file of the gateway's CA
	pin      string // its fingerprint
	http     http.Client
	password string // of the user admin
	token    string // of an admin of every project, for as long as the gateway runs
	gateway  *child
	host     *child
	claimed  *os.File // the directory is this process's
}

const (
	passwordFile = "admin-password"
	startTimeout = 60 * time.Second
)

// startStage starts all of it. When it fails, what has been started is stopped.
func (a *app) startStage(ctx context.Context, cfg stageConfig, say func(format string, args ...any)) (*stage, error) {
	s := &stage{stageConfig: cfg, app: a, say: say}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, step := range []func(context.Context) error{s.check, s.startGateway, s.define, s.startHost} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.stop())
		}
	}
	return s, nil
}

// check makes the directory and looks whether everything is there.
func (s *stage) check(context.Context) error {
	if s.bin == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		s.bin = filepath.Dir(self)
	}
	for _, path := range []*string{&s.bin, &s.dir} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	for _, program := range []string{"coffer-gateway", "coffer-host", "guests"} {
		if _, err := os.Stat(filepath.Join(s.bin, program)); err != nil {
			return fmt.Errorf("%s is not in %s; `task build` makes it", program, s.bin)
		}
	}
	if err := os.MkdirAll(s.dir, 0o711); err != nil {
		return err
	}
	return s.claim()
}

// startGateway starts it and reads what it prints for a person: its addresses and, once in its life, a password.
func (s *stage) startGateway(ctx context.Context) error {
	var err error
	tokens := filepath.Join(s.dir, "tokens.yaml")
	if err := s.writeToken(tokens); err != nil {
		return err
	}
	s.gateway, err = spawn(filepath.Join(s.bin, "coffer-gateway"), filepath.Join(s.dir, "gateway.log"), nil,
		"-listen", s.listen, "-data-dir", filepath.Join(s.dir, "gateway"), "-tokens-file", tokens)
	if err != nil {
		return err
	}
	err = s.gateway.lines(ctx, func(line string) bool {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "first start:"):
			s.password = words[len(words)-1]
		case len(words) == 2 && words[0] == "etcd":
			s.etcd = words[1]
		case len(words) == 2 && words[0] == "serving":
			s.url = words[1]
		}
		return s.url != ""
	})
	if err != nil {
		return err
	}
	s.say("gateway %s, with etcd inside at %s", s.url, s.etcd)
	if err := s.trust(); err != nil {
		return err
	}
	return s.keepPassword()
}

// trust reads the CA that the gateway has made.
func (s *stage) trust() error {
	s.ca = filepath.Join(s.dir, "gateway", "ca.pem")
	text, err := os.ReadFile(s.ca)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s holds no certificate", s.ca)
	}
	s.pin = fmt.Sprintf("%x", sha256.Sum256(block.Bytes))
	s.http, err = trusting(s.ca)
	return err
}

// writeToken makes a token and tells the gateway its hash. The token itself is in this process's memory only.
func (s *stage) writeToken(file string) error {
	s.token = rand.Text() + rand.Text()
	text := fmt.Sprintf("tokens:\n- {name: coffer-up, project: \"*\", roles: [admin], sha256: %x}\n", sha256.Sum256([]byte(s.token)))
	return os.WriteFile(file, []byte(text), 0o600)
}

// client is that of an admin, in any project.
func (s *stage) client(project string) *gophercloud.ServiceClient {
	c, _ := direct(s.url+"/v1.0/"+project, s.token, s.http) // the URL is of our making
	return c
}

// keepPassword writes the password down when it is new, and else reads it.
func (s *stage) keepPassword() error {
	file := filepath.Join(s.dir, passwordFile)
	if s.password != "" {
		return os.WriteFile(file, []byte(s.password+"\n"), 0o600)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the gateway has an admin already and its password is not known here: %w; remove %s to begin anew", err, s.dir)
	}
	s.password = strings.TrimSpace(string(b))
	return nil
}

// define puts the definitions that come with Coffer.
func (s *stage) define(ctx context.Context) error {
	set, err := definitions.Read(ctx, s.definitions, nil)
	if err != nil {
		return err
	}
	store, err := s.app.openEtcd(ctx, etcdFlags{endpoints: s.etcd})
	if err != nil {
		return err
	}
	written := 0
	err = set.Put(ctx, store, func(_ string, put bool) {
		if put {
			written++
		}
	})
	if err == nil {
		s.say("definitions of %s: %d put, %d there already", s.definitions, written, set.Len()-written)
	}
	return errors.Join(err, store.Close())
}

// startHost enrols a host, unless it was before, and waits until the gateway knows it.
func (s *stage) startHost(ctx context.Context) error {
	admin := s.client("admin")
	hosts, err := dbext.ListHosts(ctx, admin)
	if err != nil {
		return err
	}
	var env, pin []string
	if len(hosts) > 0 {
		pin = []string{"-ca", s.pin} // one that has enrolled when tokens did not say it
	} else {
		enrolment, err := dbext.CreateEnrolment(ctx, admin, dbext.EnrolmentOpts{})
		if err != nil {
			return err
		}
		env = append(env, "COFFER_HOST_TOKEN="+enrolment.Token)
	}
	guests, err := s.guestDir()
	if err != nil {
		return err
	}
	args := append([]string{
		"-gateways", s.url, "-dir", s.hostDir(), "-guests", guests,
		"-firewall-table", s.firewall,
	}, s.driver()...)
	args = slices.Concat(args, pin, s.stageConfig.host)
	if s.host, err = spawn(filepath.Join(s.bin, "coffer-host"), filepath.Join(s.dir, "host.log"), env, args...); err != nil {
		return err
	}
	return s.awaitHost(ctx, admin)
}

// driver is how instances run. Only root can make sandboxes, which have a range of 1,024 ids each.
func (s *stage) driver() []string {
	if os.Geteuid() != 0 {
		return []string{"-driver", "process"}
	}
	return []string{"-ids", s.ids}
}

func (s *stage) awaitHost(ctx context.Context, admin *gophercloud.ServiceClient) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		hosts, err := dbext.ListHosts(ctx, admin)
		if err != nil {
			return err
		}
		for _, h := range hosts {
			if h.Connected {
				s.say("host %s, connected: guests of %s; to give: %s; addresses of %s; data in %s", h.Name, strings.Join(h.Managers, ", "), capacity(h.Capacity), h.Pool, s.hostDir())
				for _, note := range h.Notes {
					s.say("  note: %s", note)
				}
				s.say("  it serves %s", strings.Join(h.Serves, ", "))
				for _, version := range slices.Sorted(maps.Keys(h.Cannot)) {
					s.say("  not offered: %s, for %s", version, h.Cannot[version])
				}
				return nil
			}
		}
		select {
		case <-s.host.done:
			return s.host.ended()
		case <-ctx.Done():
			return fmt.Errorf("the host has not connected: %w; see %s", ctx.Err(), s.host.log)
		case <-tick.C:
		}
	}
}

// stop ends the host, then the gateway. Guests and databases run on.
func (s *stage) stop() error { return errors.Join(s.host.stop(), s.gateway.stop(), s.release()) }

// clear deletes every instance of every project, waits, and stops.
func (s *stage) clear(ctx context.Context, w watcher) error {
	all, err := dbext.ListAllInstances(ctx, s.client("admin"))
	if err != nil {
		return errors.Join(err, s.stop())
	}
	slices.SortStableFunc(all, func(a, b dbext.Instance) int { return cmp.Compare(len(a.Replicas), len(b.Replicas)) }) // replicas go first
	var errs []error
	for _, in := range all {
		errs = append(errs, s.app.remove(ctx, s.client(in.Project), in.ID, w))
	}
	return errors.Join(append(errs, s.stop())...)
}
