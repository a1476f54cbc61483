// Package launch runs a gateway with its etcd and a host on one machine, as children of the program that uses it.
package launch

import (
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

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/definitions"
)

// Config says where a gateway and a host of one machine live, and what the program that starts them lends.
type Config struct {
	Bin         string // the programs; "": where this one is
	Dir         string // everything that lasts
	Definitions string // directory
	Listen      string
	Firewall    string   // nftables table of the host's own
	IDs         string   // of the instances' users, which only this host gives
	Host        []string // further flags of coffer-host

	Say   func(format string, args ...any)                                       // tells a person what happens
	Open  func(ctx context.Context, endpoints string) (*etcdschema.Store, error) // opens etcd
	Trust func(ca string) (http.Client, error)                                   // makes a client that trusts the CA of a PEM file only
}

// Stage is a gateway with its etcd and a host, on this machine, as children of this process: for development.
type Stage struct {
	Config
	URL      string // of the gateway
	Etcd     string
	CA       string // PEM file of the gateway's CA
	Password string // of the user admin
	HTTP     http.Client

	pin     string // fingerprint of the CA
	token   string // of an admin of every project, for as long as the gateway runs
	gateway *child
	host    *child
	claimed *os.File // the directory is this process's
}

const (
	// PasswordFile holds admin's password, in Dir.
	PasswordFile = "admin-password"
	startTimeout = 60 * time.Second
)

// Start starts all of it. When it fails, what has been started is stopped.
func Start(ctx context.Context, cfg Config) (*Stage, error) {
	s := &Stage{Config: cfg}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, step := range []func(context.Context) error{s.check, s.startGateway, s.define, s.startHost} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, nil
}

// check makes the directory and looks whether everything is there.
func (s *Stage) check(context.Context) error {
	if s.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		s.Bin = filepath.Dir(self)
	}
	for _, path := range []*string{&s.Bin, &s.Dir} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	for _, program := range []string{"coffer-gateway", "coffer-host", "guests"} {
		if _, err := os.Stat(filepath.Join(s.Bin, program)); err != nil {
			return fmt.Errorf("%s is not in %s; `task build` makes it", program, s.Bin)
		}
	}
	if err := os.MkdirAll(s.Dir, 0o711); err != nil {
		return err
	}
	return s.claim()
}

// startGateway starts it and reads what it prints for a person: its addresses and, once in its life, a password.
func (s *Stage) startGateway(ctx context.Context) error {
	var err error
	tokens := filepath.Join(s.Dir, "tokens.yaml")
	if err := s.writeToken(tokens); err != nil {
		return err
	}
	s.gateway, err = spawn(filepath.Join(s.Bin, "coffer-gateway"), filepath.Join(s.Dir, "gateway.log"), nil,
		"-listen", s.Listen, "-data-dir", filepath.Join(s.Dir, "gateway"), "-tokens-file", tokens)
	if err != nil {
		return err
	}
	err = s.gateway.lines(ctx, func(line string) bool {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "first start:"):
			s.Password = words[len(words)-1]
		case len(words) == 2 && words[0] == "etcd":
			s.Etcd = words[1]
		case len(words) == 2 && words[0] == "serving":
			s.URL = words[1]
		}
		return s.URL != ""
	})
	if err != nil {
		return err
	}
	s.Say("gateway %s, with etcd inside at %s", s.URL, s.Etcd)
	if err := s.trust(); err != nil {
		return err
	}
	return s.keepPassword()
}

// trust reads the CA that the gateway has made.
func (s *Stage) trust() error {
	s.CA = filepath.Join(s.Dir, "gateway", "ca.pem")
	text, err := os.ReadFile(s.CA)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s holds no certificate", s.CA)
	}
	s.pin = fmt.Sprintf("%x", sha256.Sum256(block.Bytes))
	s.HTTP, err = s.Trust(s.CA)
	return err
}

// writeToken makes a token and tells the gateway its hash. The token itself is in this process's memory only.
func (s *Stage) writeToken(file string) error {
	s.token = rand.Text() + rand.Text()
	text := fmt.Sprintf("tokens:\n- {name: coffer-up, project: \"*\", roles: [admin], sha256: %x}\n", sha256.Sum256([]byte(s.token)))
	return os.WriteFile(file, []byte(text), 0o600)
}

// Client is that of an admin, in any project.
func (s *Stage) Client(project string) *gophercloud.ServiceClient {
	provider := &gophercloud.ProviderClient{TokenID: s.token, HTTPClient: s.HTTP}
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: s.URL + "/v1.0/" + project + "/", Type: "database"}
}

// keepPassword writes the password down when it is new, and else reads it.
func (s *Stage) keepPassword() error {
	file := filepath.Join(s.Dir, PasswordFile)
	if s.Password != "" {
		return os.WriteFile(file, []byte(s.Password+"\n"), 0o600)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the gateway has an admin already and its password is not known here: %w; remove %s to begin anew", err, s.Dir)
	}
	s.Password = strings.TrimSpace(string(b))
	return nil
}

// define puts the definitions that come with Coffer.
func (s *Stage) define(ctx context.Context) error {
	set, err := definitions.Read(ctx, s.Definitions, nil)
	if err != nil {
		return err
	}
	store, err := s.Open(ctx, s.Etcd)
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
		s.Say("definitions of %s: %d put, %d there already", s.Definitions, written, set.Len()-written)
	}
	return errors.Join(err, store.Close())
}

// startHost enrols a host, unless it was before, and waits until the gateway knows it.
func (s *Stage) startHost(ctx context.Context) error {
	admin := s.Client("admin")
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
		"-gateways", s.URL, "-dir", s.HostDir(), "-guests", guests,
		"-firewall-table", s.Firewall,
	}, s.driver()...)
	args = slices.Concat(args, pin, s.Config.Host)
	if s.host, err = spawn(filepath.Join(s.Bin, "coffer-host"), filepath.Join(s.Dir, "host.log"), env, args...); err != nil {
		return err
	}
	return s.awaitHost(ctx, admin)
}

// driver is how instances run. Only root can make sandboxes, which have a range of 1,024 ids each.
func (s *Stage) driver() []string {
	if os.Geteuid() != 0 {
		return []string{"-driver", "process"}
	}
	return []string{"-ids", s.IDs}
}

func (s *Stage) awaitHost(ctx context.Context, admin *gophercloud.ServiceClient) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		hosts, err := dbext.ListHosts(ctx, admin)
		if err != nil {
			return err
		}
		for _, h := range hosts {
			if h.Connected {
				s.Say("host %s, connected: guests of %s; to give: %s; addresses of %s; data in %s", h.Name, strings.Join(h.Managers, ", "), h.Capacity, h.Pool, s.HostDir())
				for _, note := range h.Notes {
					s.Say("  note: %s", note)
				}
				s.Say("  it serves %s", strings.Join(h.Serves, ", "))
				for _, version := range slices.Sorted(maps.Keys(h.Cannot)) {
					s.Say("  not offered: %s, for %s", version, h.Cannot[version])
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

// Wait waits until ctx or one of the two programs ends; the error is of a program.
func (s *Stage) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.gateway.done:
		return s.gateway.ended()
	case <-s.host.done:
		return s.host.ended()
	}
}

// Stop ends the host, then the gateway. Guests and databases run on.
func (s *Stage) Stop() error { return errors.Join(s.host.stop(), s.gateway.stop(), s.release()) }

// Remove deletes what stopped programs have left, but for what somebody else keeps in Dir.
func (s *Stage) Remove() error {
	err := os.RemoveAll(s.HostDir())
	for _, name := range []string{"gateway", "gateway.log", "host.log", "tokens.yaml", "openrc", PasswordFile, claimFile} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.Dir, name)))
	}
	_ = os.Remove(s.Dir)
	return err
}
