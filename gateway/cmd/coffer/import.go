package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/definitions"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveimport"
)

// importFlags say how to import.
type importFlags struct {
	to, base, guests string
	versions         []string
	devicePath       bool
	strict           bool
}

func (a *app) importDefinitions() *cobra.Command {
	var f importFlags
	cmd := simple("import FILE…", "Make definitions of a Trove configuration", func(cmd *cobra.Command, args []string) error {
		return a.importTrove(cmd.Context(), args, f)
	})
	cmd.Long = `Make definitions of a Trove configuration: trove.conf, or what guests were given.

Each datastore's group is split into the half that gateways read and the half that guests are told; strategies and
managers get Coffer's names. What the built-in definition of the same manager says and the files do not, stays. Later
files count before earlier ones, as with Trove's --config-file.

Without --to, the definitions are printed as input of etcdctl txn. What they cannot hold is told on the standard error,
a line for each option: file and line, option, why, and what to do instead. With --strict, when there is something to be
done about any of them, nothing is written and the exit code is 6.`
	cmd.Example = `  coffer definitions import /etc/trove/trove.conf --to definitions && coffer definitions lint definitions
  coffer definitions import trove.conf trove-guestagent.conf --version percona=8.0 | etcdctl txn`
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "directory for the files, a path for each key; what is there is not overwritten")
	flags.StringVar(&f.base, "definitions", "deployments/definitions", "directory of the built-in definitions")
	flags.StringVar(&f.guests, "guests", "", "directory of guest binaries, which are asked what they are")
	flags.StringSliceVar(&f.versions, "version", nil, "NAME=VERSION of a datastore, else the built-in definition's; may be repeated")
	flags.BoolVar(&f.devicePath, "device-path", false, "carry device_path over: guests have machines of their own, and mount their volume")
	flags.BoolVar(&f.strict, "strict", false, "fail when something is lost")
	return cmd
}

func (a *app) importTrove(ctx context.Context, files []string, f importFlags) error {
	req := troveimport.Request{Conf: &troveconf.Conf{}, DevicePath: f.devicePath}
	var err error
	if req.Versions, err = namedVersions(f.versions); err != nil {
		return err
	}
	if req.Base, err = base(ctx, f); err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		req.Conf.Read(file, text)
	}
	result, err := troveimport.Import(req)
	if err != nil {
		return err
	}
	if a.output != "json" {
		for _, n := range result.Notes {
			fmt.Fprintln(a.errs, n)
		}
	}
	if lost := result.Lost(); f.strict && lost > 0 {
		return &codedError{exitIncomplete, fmt.Errorf("nothing was written: %d lines need something to be done", lost)}
	}
	return a.writeImport(result, f.to)
}

func (a *app) writeImport(result *troveimport.Result, to string) error {
	if len(result.Definitions) == 0 {
		return fmt.Errorf("there is no datastore in it: want groups such as [mysql], or datastore_registry_ext")
	}
	if to != "" {
		if err := troveimport.WriteFiles(to, result.Definitions); err != nil {
			return err
		}
	}
	switch {
	case a.output == "json":
		return a.print(result, nil)
	case to == "":
		return troveimport.WriteTxn(a.out, result.Definitions)
	}
	a.say("%d definitions of %d options are in %s", len(result.Definitions), len(result.Mapped), to)
	return nil
}

// base reads what an import starts from. The directory may be missing when guests are asked.
func base(ctx context.Context, f importFlags) (*troveimport.Base, error) {
	var guests map[string]datastores.Manifest
	if f.guests != "" {
		var err error
		asked, err := definitions.AskGuests(ctx, f.guests)
		if err != nil {
			return nil, err
		}
		guests = asked.Manifests
	}
	var dir fs.FS
	if _, err := os.Stat(f.base); err == nil {
		dir = os.DirFS(f.base)
	} else if guests == nil {
		return nil, fmt.Errorf("there are no built-in definitions in %s; say where with --definitions, or give --guests", f.base)
	}
	b, err := troveimport.ReadBase(dir, guests)
	if err != nil {
		return nil, fmt.Errorf("cannot read the built-in definitions of %s: %w", f.base, err)
	}
	return b, nil
}

// namedVersions reads NAME=VERSION.
func namedVersions(all []string) (map[string]string, error) {
	versions := map[string]string{}
	for _, text := range all {
		name, version, _ := strings.Cut(text, "=")
		if !etcdschema.ValidName(name) || !etcdschema.ValidName(version) {
			return nil, usagef("--version %q: want NAME=VERSION, each 1 to 63 of a-z 0-9 . _ -", text)
		}
		versions[name] = version
	}
	return versions, nil
}
