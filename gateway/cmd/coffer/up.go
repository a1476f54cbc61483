package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/instances"
	"github.com/spf13/cobra"
)

// lastingConfig is of what stays: nothing of it may be another host's on the same machine.
func lastingConfig() stageConfig {
	return stageConfig{
		dir: ".coffer", listen: "127.0.0.1:8779", firewall: "coffer_up", ids: "1879048192-1912602623",
	}
}

// flags adds the flags of every stage to a command.
func (cfg *stageConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&cfg.bin, "bin", "", "directory of coffer-gateway, coffer-host and guests/; where this program is when left out")
	f.StringVar(&cfg.definitions, "definitions", "deployments/definitions", "directory of definitions to put")
}

// lastingFlags adds those of one that lasts.
func (cfg *stageConfig) lastingFlags(cmd *cobra.Command) {
	cfg.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&cfg.dir, "dir", cfg.dir, "directory of everything that lasts")
	f.StringVar(&cfg.listen, "listen", cfg.listen, "address of the gateway")
	f.StringArrayVar(&cfg.host, "host-flag", nil, "further flag of coffer-host, such as -memory=4096; may be repeated")
}

func (a *app) upCommand() *cobra.Command {
	cfg := lastingConfig()
	cmd := simple("up", "Run a gateway with its etcd and a host on this machine, for development", func(cmd *cobra.Command, _ []string) error {
		s, err := a.startStage(cmd.Context(), cfg, a.say)
		if err != nil {
			return err
		}
		if err := a.welcome(s); err != nil {
			return errors.Join(err, s.stop())
		}
		select {
		case <-cmd.Context().Done():
		case <-s.gateway.done:
			err = s.gateway.ended()
		case <-s.host.done:
			err = s.host.ended()
		}
		err = errors.Join(err, s.stop())
		a.say("\nGateway and host have stopped. Databases and their guests run on, and are found again by `coffer up`.\n" +
			"`coffer down` removes them, their data and everything else.")
		return err
	})
	cfg.lastingFlags(cmd)
	return cmd
}

// welcome says how to go on.
func (a *app) welcome(s *stage) error {
	openrc := filepath.Join(s.dir, "openrc")
	login := fmt.Sprintf(`export OS_AUTH_URL=%s/identity/v3
export OS_IDENTITY_API_VERSION=3
export OS_USERNAME=admin
export OS_PROJECT_NAME=admin
export OS_USER_DOMAIN_NAME=Default
export OS_PROJECT_DOMAIN_NAME=Default
export OS_PASSWORD="$(cat '%s')"
export OS_CACERT='%[4]s'
export ETCDCTL_API=3
export ETCDCTL_ENDPOINTS='%[3]s'
export COFFER_ETCD_ENDPOINTS='%[3]s'
`, s.url, filepath.Join(s.dir, passwordFile), s.etcd, s.ca)
	if err := os.WriteFile(openrc, []byte(login), 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	a.say(`
Trove's API is served at %s. To log in, with coffer, openstack, gophercloud or Terraform, and to change what etcd holds:

%s
These lines are in %s. Then, in another terminal:

. %s
%s instance create cache --datastore redis --flavor tiny --size 1 --wait

Ctrl-C stops gateway and host.`, s.url, login, openrc, openrc, self)
	return nil
}

func (a *app) downCommand() *cobra.Command {
	cfg := lastingConfig()
	cmd := simple("down", "Remove everything that `coffer up` has made: instances, their data, etcd's", func(cmd *cobra.Command, _ []string) error {
		if _, err := os.Stat(cfg.dir); err != nil {
			return notFoundf("there is nothing in %s", cfg.dir)
		}
		ctx, cancel := a.withTimeout(cmd.Context())
		defer cancel()
		s, err := a.startStage(ctx, cfg, a.say)
		if err != nil {
			return err
		}
		if err := s.clear(ctx, a.progress(a.errs)); err != nil {
			return fmt.Errorf("%s is kept: %w", cfg.dir, err)
		}
		err = os.RemoveAll(s.hostDir())
		for _, name := range []string{"gateway", "gateway.log", "host.log", "tokens.yaml", "openrc", passwordFile, claimFile} {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, name)))
		}
		_ = os.Remove(s.dir) // unless somebody keeps something else there
		return a.done(err, "everything is removed")
	})
	cfg.lastingFlags(cmd)
	return cmd
}

// remove deletes an instance, whatever is being done to it, and waits until it is gone.
func (a *app) remove(ctx context.Context, c *gophercloud.ServiceClient, id string, w watcher) error {
	marker, err := lastEvent(ctx, c, id)
	if err != nil {
		return err
	}
	if err := instances.Delete(ctx, c, id).ExtractErr(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return a.follow(ctx, c, id, marker, "delete", w)
}
