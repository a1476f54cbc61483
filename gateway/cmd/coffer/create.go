package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/databases"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/instances"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/users"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

// createFlags are what an instance is made of.
type createFlags struct {
	datastore, version, flavor string
	size                       int
	volumeType                 string
	databases                  []string
	user                       string
	passwordStdin              bool
	allowed                    []string
	userData, protected, wait  bool
	backup, restorePoint       string
	backupProject              string
	configuration              string
	pitr                       bool
	replicaOf                  string
	replicas                   int
	zone, locality             string
	modules                    []string
}

func (a *app) createInstance() *cobra.Command {
	var f createFlags
	cmd := a.api("create NAME", "Create an instance", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		return a.create(ctx, c, args[0], f)
	})
	cmd.Example = `  coffer instance create cache --datastore redis --flavor tiny --size 1 --wait
  coffer instance create orders --datastore mariadb --flavor small --size 2 --database shop --user clerk --wait`
	cmd.Example += `
  coffer instance create orders-2 --datastore mariadb --flavor small --size 2 --backup nightly --wait
  coffer instance create orders-then --flavor small --size 2 --restore-point orders@2026-11-29T12:00:00Z --wait
  coffer instance create orders-replica --replica-of orders --replica-count 2`
	flags := cmd.Flags()
	flags.StringVar(&f.datastore, "datastore", "", "datastore; not needed when there is only one")
	flags.StringVar(&f.version, "version", "", "datastore version; the datastore's default when left out")
	flags.StringVar(&f.flavor, "flavor", "", "flavor, by name or id")
	flags.IntVar(&f.size, "size", 0, "size of the volume in GB; 0 for a datastore without volumes")
	flags.StringVar(&f.volumeType, "volume-type", "", "type of the volume")
	flags.StringSliceVar(&f.databases, "database", nil, "database to create; may be repeated")
	flags.StringVar(&f.user, "user", "", "user to create, for all the databases; its password is made up, see --password-stdin")
	flags.BoolVar(&f.passwordStdin, "password-stdin", false, "read the user's password from the standard input")
	flags.StringSliceVar(&f.allowed, "allowed-cidr", nil, "network that may reach the ports; may be repeated")
	flags.StringVar(&f.backup, "backup", "", "backup that it is made of, by name or id")
	flags.StringVar(&f.backupProject, "backup-project", "", "project that has granted that backup, which is given by id then")
	flags.StringVar(&f.restorePoint, "restore-point", "", "INSTANCE@TIME or INSTANCE@POSITION: what another instance, by name or id, was at that time or position of its log")
	flags.BoolVar(&f.pitr, "pitr", false, "ship its log, so that one can go back to any time")
	flags.StringVar(&f.configuration, "configuration", "", "configuration group that it uses, by name or id")
	flags.StringSliceVar(&f.modules, "module", nil, "module that it begins with, by name or id; may be repeated")
	flags.StringVar(&f.replicaOf, "replica-of", "", "instance that it follows, by name or id; datastore, flavor and volume are that one's")
	flags.IntVar(&f.replicas, "replica-count", 0, "how many replicas to make, with --replica-of; one when left out")
	flags.StringVar(&f.zone, "availability-zone", "", "zone that its host must be in; any when left out")
	flags.StringVar(&f.locality, "locality", "", "where replicas of it will go: affinity, to its host, or anti-affinity, each to another; anywhere when left out")
	flags.BoolVar(&f.protected, "protect", false, "protect it from deletion")
	flags.BoolVar(&f.userData, "user-data", false, "use no host: print the cloud-init user-data of a machine to boot")
	flags.BoolVar(&f.wait, "wait", false, "wait until it can be used")
	return cmd
}

func (a *app) create(ctx context.Context, c *gophercloud.ServiceClient, name string, f createFlags) error {
	if err := f.problem(); err != nil {
		return err
	}
	opts := dbext.CreateOpts{
		CreateOpts: instances.CreateOpts{Name: name, Size: f.size, VolumeType: f.volumeType},
		UserData:   f.userData, ReplicaCount: f.replicas, Zone: f.zone, Locality: f.locality, Protected: f.protected, PITR: f.pitr,
	}
	if f.datastore != "" {
		opts.Datastore = &instances.DatastoreOpts{Type: f.datastore, Version: f.version}
	}
	if len(f.allowed) > 0 {
		opts.Access = &dbext.Access{AllowedCIDRs: f.allowed}
	}
	if err := f.resolve(ctx, c, &opts); err != nil {
		return err
	}
	if f.restorePoint != "" {
		point, err := restorePoint(ctx, c, f.restorePoint)
		if err != nil {
			return err
		}
		opts.RestorePoint = point
	}
	dbs := databases.BatchCreateOpts{}
	for _, db := range f.databases {
		dbs = append(dbs, databases.CreateOpts{Name: db})
	}
	if len(dbs) > 0 {
		opts.Databases = dbs
	}
	var user fields
	if f.user != "" {
		password, made, err := a.password(f.passwordStdin)
		if err != nil {
			return err
		}
		opts.Users = users.BatchCreateOpts{{Name: f.user, Password: password, Databases: dbs}}
		user = passwordFields(f.user, password, made)
	}
	in, err := dbext.CreateInstance(ctx, c, opts)
	if err != nil {
		return err
	}
	return a.created(ctx, c, in, user, f.wait)
}

// problem says which flags do not go together.
func (f createFlags) problem() error {
	switch {
	case f.flavor == "" && f.replicaOf == "":
		return usagef("which --flavor? `coffer flavor list` shows what there is")
	case f.passwordStdin && f.user == "":
		return usagef("--password-stdin goes with --user")
	case f.backup != "" && f.restorePoint != "":
		return usagef("--backup or --restore-point, not both")
	case f.backupProject != "" && f.backup == "":
		return usagef("--backup-project goes with --backup")
	case f.version != "" && f.datastore == "":
		return usagef("--version needs --datastore")
	case f.replicas != 0 && f.replicaOf == "":
		return usagef("--replica-count goes with --replica-of")
	case f.replicaOf != "" && (f.flavor != "" || f.size != 0 || f.datastore != "" || f.backup+f.restorePoint != "" || f.pitr || f.user != "" || len(f.databases) > 0):
		return usagef("a replica has its source's datastore, flavor, volume, databases and users: leave out what says them")
	}
	return nil
}

// resolve turns the names of what exists into ids.
func (f createFlags) resolve(ctx context.Context, c *gophercloud.ServiceClient, opts *dbext.CreateOpts) error {
	if f.backupProject != "" {
		opts.Backup, opts.BackupProject, f.backup = f.backup, f.backupProject, ""
	}
	for _, r := range []struct {
		ref  string
		find func(context.Context, *gophercloud.ServiceClient, string) (string, error)
		into *string
	}{
		{f.flavor, findFlavor, &opts.FlavorRef},
		{f.backup, findBackup, &opts.Backup},
		{f.configuration, findConfiguration, &opts.Configuration},
		{f.replicaOf, findInstance, &opts.ReplicaOf},
	} {
		if r.ref == "" {
			continue
		}
		id, err := r.find(ctx, c, r.ref)
		if err != nil {
			return err
		}
		*r.into = id
	}
	for _, ref := range f.modules {
		id, err := findModule(ctx, c, ref)
		if err != nil {
			return err
		}
		opts.Modules = append(opts.Modules, id)
	}
	return nil
}

// created prints a new instance: at once, or when it is ready. What is told only once is told before the waiting.
func (a *app) created(ctx context.Context, c *gophercloud.ServiceClient, in dbext.Instance, user fields, wait bool) error {
	if !wait || a.output != "json" {
		if err := a.print(in, append(instanceFields(in), user...)); err != nil {
			return err
		}
	}
	if in.UserData != "" && a.output != "json" {
		fmt.Fprint(a.out, "\n", in.UserData)
	}
	if !wait {
		return nil
	}
	err := a.follow(ctx, c, in.ID, "", "create", a.progress(a.errs))
	if a.output == "json" {
		if now, showErr := dbext.GetInstance(ctx, c, in.ID); showErr == nil {
			now.Password = in.Password
			in = now
		}
		if printErr := a.print(in, nil); printErr != nil {
			return printErr
		}
	}
	return err
}

// password reads one from the standard input, or makes it up.
func (a *app) password(stdin bool) (password string, made bool, err error) {
	if !stdin {
		return (rand.Text() + rand.Text())[:36], true, nil
	}
	b, err := io.ReadAll(io.LimitReader(a.in, 1<<10))
	if err != nil {
		return "", false, fmt.Errorf("cannot read the password: %w", err)
	}
	password = strings.TrimRight(string(b), "\r\n")
	if password == "" {
		return "", false, usagef("--password-stdin: the standard input is empty")
	}
	return password, false, nil
}

// passwordFields shows a user, with the password when nobody else knows it.
func passwordFields(user, password string, made bool) fields {
	f := fields{{"user", user}}
	if made {
		f = append(f, [2]string{"password", password})
	}
	return f
}
