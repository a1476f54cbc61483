package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/definitions"
)

// etcdOfUp is where the etcd inside the gateway of `coffer up` listens.
const etcdOfUp = "unix://.coffer/gateway/etcd/client.sock"

// etcdFlags say how to reach etcd, as the gateway's do.
type etcdFlags struct{ endpoints, user, ca, cert, key string }

// onEtcd makes a command that works on etcd itself.
func (a *app) onEtcd(use, short string, run func(ctx context.Context, s *etcdschema.Store, args []string) error) *cobra.Command {
	var f etcdFlags
	cmd := simple(use, short, func(cmd *cobra.Command, args []string) error {
		ctx, cancel := a.withTimeout(cmd.Context())
		defer cancel()
		store, err := a.openEtcd(ctx, f)
		if err != nil {
			return err
		}
		return errors.Join(run(ctx, store, args), store.Close())
	})
	flags := cmd.Flags()
	flags.StringVar(&f.endpoints, "etcd-endpoints", "", "comma-separated; COFFER_ETCD_ENDPOINTS, else that of `coffer up` in this directory")
	flags.StringVar(&f.user, "etcd-user", "", "etcd user; its password is COFFER_ETCD_PASSWORD; COFFER_ETCD_USER")
	flags.StringVar(&f.ca, "etcd-ca", "", "PEM file of the CA that signed etcd's certificates; COFFER_ETCD_CA")
	flags.StringVar(&f.cert, "etcd-cert", "", "PEM file of a certificate whose common name is the etcd user; COFFER_ETCD_CERT")
	flags.StringVar(&f.key, "etcd-key", "", "PEM file of its key; COFFER_ETCD_KEY")
	return cmd
}

func (a *app) openEtcd(ctx context.Context, f etcdFlags) (*etcdschema.Store, error) {
	setting := func(flag, env, otherwise string) string {
		if flag == "" {
			flag = a.getenv(env)
		}
		if flag == "" {
			flag = otherwise
		}
		return flag
	}
	cfg := etcdschema.Config{
		Endpoints: strings.FieldsFunc(setting(f.endpoints, "COFFER_ETCD_ENDPOINTS", etcdOfUp), func(r rune) bool { return r == ',' || r == ' ' }),
		Username:  setting(f.user, "COFFER_ETCD_USER", ""),
		Log:       slog.New(slog.NewTextHandler(a.errs, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if cfg.Username != "" {
		cfg.Password = a.getenv("COFFER_ETCD_PASSWORD")
	}
	var err error
	if cfg.TLS, err = etcdschema.ClientTLS(setting(f.ca, "COFFER_ETCD_CA", ""), setting(f.cert, "COFFER_ETCD_CERT", ""), setting(f.key, "COFFER_ETCD_KEY", "")); err != nil {
		return nil, usagef("%w", err)
	}
	store, err := etcdschema.Open(ctx, cfg)
	if err != nil {
		return nil, &codedError{exitUnavailable, err}
	}
	return store, nil
}

func (a *app) definitionsCommands() *cobra.Command {
	var guests string
	checking := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().StringVar(&guests, "guests", "", "directory of guest binaries, which check the options, values included")
		return cmd
	}
	return group("definitions", "What operators define: datastore versions, flavors, quotas",
		checking(simple("lint DIR", "Check the files of a directory, without etcd", func(cmd *cobra.Command, args []string) error {
			set, err := a.read(cmd.Context(), args[0], guests)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"definitions": set.Len(), "problems": []definitions.Problem{}},
				text(fmt.Sprintf("%d definitions are good", set.Len())))
		})),
		checking(a.onEtcd("put DIR", "Check the files of a directory and put them into etcd", func(ctx context.Context, s *etcdschema.Store, args []string) error {
			set, err := a.read(ctx, args[0], guests)
			if err != nil {
				return err
			}
			return set.Put(ctx, s, func(key string, written bool) {
				did := "unchanged"
				if written {
					did = "put      "
				}
				a.say("%s %s", did, key)
			})
		})),
		checking(a.onEtcd("diff DIR", "Tell how the files of a directory differ from etcd; exit code 1 when they do", func(ctx context.Context, s *etcdschema.Store, args []string) error {
			set, err := a.read(ctx, args[0], guests)
			if err != nil {
				return err
			}
			differences, err := set.Diff(ctx, s)
			if err != nil {
				return err
			}
			if err := a.print(differences, text(strings.Join(differences, "\n"))); err != nil {
				return err
			}
			if len(differences) > 0 {
				return &codedError{exitFailed, errors.New("")}
			}
			return nil
		})),
		a.importDefinitions(),
		a.api("problems", "List what the gateway finds wrong with the definitions in etcd (admin)", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
			problems, err := dbext.ListProblems(ctx, c)
			if err != nil {
				return err
			}
			t := table{{"key", "path", "message", "last good one in force"}}
			for _, p := range problems {
				t = append(t, []string{p.Key, p.Path, p.Message, yesNo(p.InForce)})
			}
			return a.print(problems, t)
		}),
	)
}

// read reads a directory of definitions and prints all that is wrong with them.
func (a *app) read(ctx context.Context, dir, guests string) (*definitions.Set, error) {
	var own *definitions.Guests
	if guests != "" {
		var err error
		if own, err = definitions.AskGuests(ctx, guests); err != nil {
			return nil, err
		}
	}
	set, err := definitions.Read(ctx, dir, own)
	if err != nil || len(set.Problems) == 0 {
		return set, err
	}
	if a.output == "json" {
		if err := a.print(map[string]any{"problems": set.Problems}, nil); err != nil {
			return nil, err
		}
	} else {
		for _, p := range set.Problems {
			fmt.Fprintln(a.out, plain(p.Error()))
		}
	}
	return nil, fmt.Errorf("%s is not good: problems: %d", dir, len(set.Problems))
}

func (a *app) epochCommands() *cobra.Command {
	var reason string
	create := a.onEtcd("new", "Begin a new history; needed after etcd was restored from a snapshot", func(ctx context.Context, s *etcdschema.Store, _ []string) error {
		epoch, err := s.NewEpoch(ctx, reason)
		if err != nil {
			return err
		}
		return a.print(epoch, fields{{"epoch", epoch.ID}, {"reason", epoch.Reason}})
	})
	create.Long = `Begin a new history.

After etcd was restored from a snapshot, what gateways and agents remember is newer than what etcd holds. A new epoch
makes agents ask for everything again. Stop the gateways, restore etcd, run this, start the gateways.`
	create.Flags().StringVar(&reason, "reason", "etcd was restored", "why, for people")
	return group("epoch", "The history of etcd", create)
}
