package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/instances"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/demo"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/launch"
)

// lastingConfig is of what stays: nothing of it may be another host's on the same machine.
func (a *app) lastingConfig() launch.Config {
	cfg := a.stageConfig()
	cfg.Say = a.say
	cfg.Dir, cfg.Listen, cfg.Firewall, cfg.IDs = ".coffer", "127.0.0.1:8779", "coffer_up", "1879048192-1912602623"
	return cfg
}

// stageConfig lends a stage what this program has.
func (a *app) stageConfig() launch.Config {
	return launch.Config{
		Trust: trusting,
		Open: func(ctx context.Context, endpoints string) (*etcdschema.Store, error) {
			return a.openEtcd(ctx, etcdFlags{endpoints: endpoints})
		},
	}
}

// stageFlags adds the flags of every stage to a command.
func stageFlags(cfg *launch.Config, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&cfg.Bin, "bin", "", "directory of coffer-gateway, coffer-host and guests/; where this program is when left out")
	f.StringVar(&cfg.Definitions, "definitions", "deployments/definitions", "directory of definitions to put")
}

// lastingFlags adds those of one that lasts.
func lastingFlags(cfg *launch.Config, cmd *cobra.Command) {
	stageFlags(cfg, cmd)
	f := cmd.Flags()
	f.StringVar(&cfg.Dir, "dir", cfg.Dir, "directory of everything that lasts")
	f.StringVar(&cfg.Listen, "listen", cfg.Listen, "address of the gateway")
	f.StringArrayVar(&cfg.Host, "host-flag", nil, "further flag of coffer-host, such as -memory=4096; may be repeated")
}

func (a *app) upCommand() *cobra.Command {
	cfg := a.lastingConfig()
	cmd := simple("up", "Run a gateway with its etcd and a host on this machine, for development", func(cmd *cobra.Command, _ []string) error {
		s, err := launch.Start(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		if err := a.welcome(s); err != nil {
			return errors.Join(err, s.Stop())
		}
		err = errors.Join(s.Wait(cmd.Context()), s.Stop())
		a.say("\nGateway and host have stopped. Databases and their guests run on, and are found again by `coffer up`.\n" +
			"`coffer down` removes them, their data and everything else.")
		return err
	})
	lastingFlags(&cfg, cmd)
	return cmd
}

// welcome says how to go on.
func (a *app) welcome(s *launch.Stage) error {
	openrc := filepath.Join(s.Dir, "openrc")
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
`, s.URL, filepath.Join(s.Dir, launch.PasswordFile), s.Etcd, s.CA)
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

Ctrl-C stops gateway and host.`, s.URL, login, openrc, openrc, self)
	return nil
}

func (a *app) downCommand() *cobra.Command {
	cfg := a.lastingConfig()
	cmd := simple("down", "Remove everything that `coffer up` has made: instances, their data, etcd's", func(cmd *cobra.Command, _ []string) error {
		if _, err := os.Stat(cfg.Dir); err != nil {
			return notFoundf("there is nothing in %s", cfg.Dir)
		}
		ctx, cancel := a.withTimeout(cmd.Context())
		defer cancel()
		s, err := launch.Start(ctx, cfg)
		if err != nil {
			return err
		}
		if err := a.clear(ctx, s, a.progress(a.errs)); err != nil {
			return fmt.Errorf("%s is kept: %w", cfg.Dir, err)
		}
		return a.done(s.Remove(), "everything is removed")
	})
	lastingFlags(&cfg, cmd)
	return cmd
}

func (a *app) demoCommand() *cobra.Command {
	stage := a.stageConfig()
	stage.Listen = "127.0.0.1:0"
	cmd := simple("demo", "Show the main job, on real databases, and clean up", func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := a.withTimeout(cmd.Context())
		defer cancel()
		show := demo.Demo{Out: a.out, Stage: stage, Coffer: run}
		if _, terminal := onTerminal(a.errs); terminal {
			show.Bars = a.errs
		}
		show.Clear = func(ctx context.Context, s *launch.Stage) error { return a.clear(ctx, s, a.progress(a.out)) }
		return show.Run(ctx)
	})
	cmd.Hidden = true
	stageFlags(&stage, cmd)
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

// removeCluster deletes a cluster, whatever is being done to it, and waits until it is gone.
func (a *app) removeCluster(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	if err := dbext.ActOnCluster(ctx, c, id, "reset-status", map[string]bool{"force_delete": true}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return a.settle(ctx, c, id, "delete", a.errs)
}

// clear deletes every cluster and instance of every project of a stage, waits, and stops it.
func (a *app) clear(ctx context.Context, s *launch.Stage, w watcher) error {
	var errs []error
	clusters, err := dbext.ListAllClusters(ctx, s.Client("admin"))
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	for _, one := range clusters {
		errs = append(errs, a.removeCluster(ctx, s.Client(one.Project), one.ID))
	}
	all, err := dbext.ListAllInstances(ctx, s.Client("admin"))
	if err != nil {
		return errors.Join(append(errs, err, s.Stop())...)
	}
	slices.SortStableFunc(all, func(a, b dbext.Instance) int { return cmp.Compare(len(a.Replicas), len(b.Replicas)) }) // replicas go first
	for _, in := range all {
		errs = append(errs, a.remove(ctx, s.Client(in.Project), in.ID, w))
	}
	return errors.Join(append(errs, s.Stop())...)
}
