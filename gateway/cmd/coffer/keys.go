package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/etcdschema"
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
