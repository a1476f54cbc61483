package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/keyring"
)

func (a *app) keysCommands() *cobra.Command {
	var file string
	create := simple("new", "Make a new line for the gateways' key file", func(*cobra.Command, []string) error {
		if file == "" {
			_, err := fmt.Fprint(a.out, keyring.NewLine())
			return err
		}
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.WriteString(keyring.NewLine())
		if closed := f.Close(); err == nil {
			err = closed
		}
		return err
	})
	create.Flags().StringVar(&file, "file", "", "write a new key file, which only its owner may read, instead of printing the line")
	create.Long = `Make a new line for the gateways' key file.

The first line of the file seals what waits in etcd, all of them open it. To begin: coffer keys new --file keys. To rotate,
follow "Keys" in docs/operations.md: the old line may go when "coffer keys list" says that nothing is sealed with it.`
	return group("keys", "Keys that seal what waits in etcd", create, a.keysList(), a.keysReseal(), a.authorityCommands())
}

func keyFileFlag(cmd *cobra.Command, file *string) *cobra.Command {
	cmd.Flags().StringVar(file, "key-file", "", "the gateways' key file")
	_ = cmd.MarkFlagRequired("key-file")
	return cmd
}

func (a *app) keysList() *cobra.Command {
	var file string
	return keyFileFlag(a.onEtcd("list", "List the keys in use, and those of the key file", func(ctx context.Context, s *etcdschema.Store, _ []string) error {
		keys, err := keyring.Load(file, false)
		if err != nil {
			return err
		}
		inUse, err := keyring.InUse(ctx, s)
		if err != nil {
			return err
		}
		t := table{{"key", "in the file", "records"}}
		for i, id := range keys.IDs() {
			is := "opens"
			if i == 0 {
				is = "seals"
			}
			t = append(t, []string{id, is, strconv.Itoa(inUse[id])})
		}
		for _, id := range slices.Sorted(maps.Keys(inUse)) {
			if !slices.Contains(keys.IDs(), id) {
				t = append(t, []string{id, "missing", strconv.Itoa(inUse[id])})
			}
		}
		return a.print(inUse, t)
	}), &file)
}

func (a *app) keysReseal() *cobra.Command {
	var file string
	return keyFileFlag(a.onEtcd("reseal", "Seal everything in etcd with the first key of the key file", func(ctx context.Context, s *etcdschema.Store, _ []string) error {
		keys, err := keyring.Load(file, false)
		if err != nil {
			return err
		}
		changed, err := keyring.Reseal(ctx, s, keys)
		if err != nil {
			return fmt.Errorf("%d records were sealed anew, then: %w", changed, err)
		}
		return a.done(nil, "sealed %d records with key %s", changed, keys.IDs()[0])
	}), &file)
}

func (a *app) authorityCommands() *cobra.Command {
	withKeys := func(use, short string, run func(context.Context, *etcdschema.Store, *keyring.Keyring) error) *cobra.Command {
		var file string
		return keyFileFlag(a.onEtcd(use, short, func(ctx context.Context, s *etcdschema.Store, _ []string) error {
			keys, err := keyring.Load(file, false)
			if err == nil {
				err = keyring.Check(ctx, s, keys)
			}
			if err != nil {
				return err
			}
			return run(ctx, s, keys)
		}), &file)
	}
	var force bool
	change := withKeys("switch", "Have the other CA sign, once every agent knows it", func(ctx context.Context, s *etcdschema.Store, keys *keyring.Keyring) error {
		ca, err := gateway.SwitchAuthorities(ctx, s, keys, force)
		return a.done(err, "%s signs the certificates of gateways that start from now on: restart all in turn", ca)
	})
	change.Flags().BoolVar(&force, "force", false, "do not wait for agents that have not been told of it: they must enrol anew")
	cmd := group("authority", "The CA by which agents and clients know gateways",
		withKeys("list", "List the CAs, and who does not know them yet", func(ctx context.Context, s *etcdschema.Store, keys *keyring.Keyring) error {
			known, err := gateway.KnownAuthorities(ctx, s, keys)
			if err != nil {
				return err
			}
			t := table{{"ca", "signs", "expires", "serve with it", "do not name it", "have not been told of it"}}
			for _, k := range known {
				signs := "no"
				if k.Signs {
					signs = "yes"
				}
				t = append(t, []string{k.Fingerprint, signs, k.Expires.Format(time.DateOnly), gatewaysOf(k.ServedBy), gatewaysOf(k.NotToldBy), fmt.Sprintf("%d agents", len(k.NotKnownBy))})
			}
			return a.print(known, t)
		}),
		withKeys("next", "Make the CA that takes the other's place", func(ctx context.Context, s *etcdschema.Store, keys *keyring.Keyring) error {
			ca, err := gateway.NextAuthority(ctx, s, keys)
			return a.done(err, "made %s: gateways that start from now on name it to agents; restart all in turn", ca)
		}),
		change,
		withKeys("drop", "Forget the CA that does not sign", func(ctx context.Context, s *etcdschema.Store, keys *keyring.Keyring) error {
			ca, err := gateway.DropAuthority(ctx, s, keys)
			return a.done(err, "dropped %s: restart all gateways in turn, then agents forget it within a day", ca)
		}),
	)
	cmd.Long = `The CA by which agents and clients know gateways.

Gateways make one when the first of them starts. It lasts ten years. To put another in its place, follow "The gateways' CA" in
docs/operations.md.`
	return cmd
}

func gatewaysOf(addresses []string) string {
	if len(addresses) == 0 {
		return "none"
	}
	return strings.Join(addresses, " ")
}
