package main

import (
	"context"
	"regexp"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/databases"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/instances"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/users"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

// inInstance makes a command whose first argument is an instance; run gets its id and the other arguments.
func (a *app) inInstance(use, short string, run func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error) *cobra.Command {
	return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findInstance(ctx, c, args[0])
		if err != nil {
			return err
		}
		return run(ctx, c, id, args[1:])
	})
}

func (a *app) databaseCommands() *cobra.Command {
	var charset, collate string
	create := a.inInstance("create INSTANCE DATABASE…", "Create databases", func(ctx context.Context, c *gophercloud.ServiceClient, id string, names []string) error {
		opts := databases.BatchCreateOpts{}
		for _, name := range names {
			opts = append(opts, databases.CreateOpts{Name: name, CharSet: charset, Collate: collate})
		}
		return a.done(databases.Create(ctx, c, id, opts).ExtractErr(), "created %s", strings.Join(names, ", "))
	})
	create.Flags().StringVar(&charset, "character-set", "", "character set; the server's default when left out")
	create.Flags().StringVar(&collate, "collate", "", "collation")
	return group("database", "Databases of an instance",
		a.inInstance("list INSTANCE", "List an instance's databases", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			page, err := databases.List(c, id).AllPages(ctx)
			if err != nil {
				return err
			}
			dbs, err := databases.ExtractDBs(page)
			if err != nil {
				return err
			}
			var list []dbext.Database
			for _, db := range dbs {
				list = append(list, dbext.Database{Name: db.Name})
			}
			return a.printDatabases(list)
		}),
		create,
		a.inInstance("delete INSTANCE DATABASE", "Delete a database with its data", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			return a.done(dbext.DeleteDatabase(ctx, c, id, args[0]), "deleted %s", args[0])
		}),
	)
}

func (a *app) printDatabases(list []dbext.Database) error {
	t := table{{"name"}}
	for _, db := range list {
		t = append(t, []string{db.Name})
	}
	if list == nil {
		list = []dbext.Database{}
	}
	return a.print(list, t)
}

func names(dbs []dbext.Database) string {
	var all []string
	for _, db := range dbs {
		all = append(all, db.Name)
	}
	return strings.Join(all, ", ")
}

func (a *app) userCommands() *cobra.Command {
	return group("user", "Users of an instance, each NAME or NAME@HOST",
		a.inInstance("list INSTANCE", "List an instance's users", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			all, err := dbext.ListUsers(ctx, c, id)
			if err != nil {
				return err
			}
			t := table{{"name", "host", "databases"}}
			for _, u := range all {
				t = append(t, []string{u.Name, u.Host, names(u.Databases)})
			}
			return a.print(all, t)
		}),
		a.createUser(),
		a.inInstance("show INSTANCE USER", "Show a user", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			u, err := dbext.GetUser(ctx, c, id, args[0])
			if err != nil {
				return err
			}
			return a.print(u, fields{{"name", u.Name}, {"host", u.Host}, {"databases", names(u.Databases)}})
		}),
		a.updateUser(),
		a.inInstance("delete INSTANCE USER", "Delete a user", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			return a.done(dbext.DeleteUser(ctx, c, id, args[0]), "deleted %s", args[0])
		}),
		a.inInstance("grant INSTANCE USER DATABASE…", "Let a user use databases", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			return a.done(dbext.Grant(ctx, c, id, args[0], args[1:]), "%s may use %s", args[0], strings.Join(args[1:], ", "))
		}),
		a.inInstance("revoke INSTANCE USER DATABASE", "Take a database from a user", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			return a.done(dbext.Revoke(ctx, c, id, args[0], args[1]), "%s may no longer use %s", args[0], args[1])
		}),
		a.inInstance("access INSTANCE USER", "List which databases a user may use", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			list, err := dbext.ListAccess(ctx, c, id, args[0])
			if err != nil {
				return err
			}
			return a.printDatabases(list)
		}),
	)
}

// nameAtHost is a user with a host behind it: an address in which % stands for anything. What else follows an @ belongs to the
// name.
var nameAtHost = regexp.MustCompile(`^(.+)@([0-9.%]+)$`)

func (a *app) createUser() *cobra.Command {
	var host string
	var dbs []string
	var stdin bool
	cmd := a.inInstance("create INSTANCE NAME[@HOST]", "Create a user; the password is made up and printed once", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
		password, made, err := a.password(stdin)
		if err != nil {
			return err
		}
		opts := users.CreateOpts{Name: args[0], Host: host, Password: password}
		if divided := nameAtHost.FindStringSubmatch(args[0]); divided != nil && host == "" {
			opts.Name, opts.Host = divided[1], divided[2]
		}
		for _, db := range dbs {
			opts.Databases = append(opts.Databases, databases.CreateOpts{Name: db})
		}
		if err := users.Create(ctx, c, id, users.BatchCreateOpts{opts}).ExtractErr(); err != nil {
			return err
		}
		return a.printPassword(opts.Name, password, made)
	})
	cmd.Flags().StringVar(&host, "host", "", "where the user may come from, such as 10.0.0.%; everywhere when left out")
	cmd.Flags().StringSliceVar(&dbs, "database", nil, "database that the user may use; may be repeated")
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from the standard input")
	return cmd
}

func (a *app) updateUser() *cobra.Command {
	var to dbext.UserChange
	var stdin, generate bool
	cmd := a.inInstance("update INSTANCE USER", "Change a user's name, host or password", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
		if stdin && generate {
			return usagef("--password-stdin or --generate-password, not both")
		}
		if stdin || generate {
			var err error
			if to.Password, _, err = a.password(stdin); err != nil {
				return err
			}
		}
		if to == (dbext.UserChange{}) {
			return usagef("nothing to change: give --name, --host, --password-stdin or --generate-password")
		}
		if err := dbext.UpdateUser(ctx, c, id, args[0], to); err != nil {
			return err
		}
		return a.printPassword(args[0], to.Password, generate)
	})
	cmd.Flags().StringVar(&to.Name, "name", "", "new name")
	cmd.Flags().StringVar(&to.Host, "host", "", "new host")
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read a new password from the standard input")
	cmd.Flags().BoolVar(&generate, "generate-password", false, "make up a new password and print it, once")
	return cmd
}

// printPassword prints a user, with the password when nobody else knows it.
func (a *app) printPassword(user, password string, made bool) error {
	v := dbext.Root{Name: user}
	if made {
		v.Password = password
	}
	return a.print(v, passwordFields(user, password, made))
}

func (a *app) rootCommands() *cobra.Command {
	var stdin bool
	enable := a.inInstance("enable INSTANCE", "Let the superuser in; the password is made up and printed once", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
		return a.letRootIn(stdin, func(password string) (dbext.Root, error) { return dbext.EnableRoot(ctx, c, id, password) })
	})
	enable.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from the standard input")
	return group("root", "The superuser of an instance",
		enable,
		a.inInstance("disable INSTANCE", "Shut the superuser out", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			return a.done(dbext.DisableRoot(ctx, c, id), "root is disabled")
		}),
		a.inInstance("show INSTANCE", "Tell whether the superuser may log in", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			enabled, err := instances.IsRootEnabled(ctx, c, id).Extract()
			if err != nil {
				return err
			}
			return a.print(map[string]bool{"rootEnabled": enabled}, fields{{"root enabled", yesNo(enabled)}})
		}),
	)
}

// letRootIn enables the superuser with a password of the standard input, or, for "", with one that the gateway makes, which is printed.
func (a *app) letRootIn(stdin bool, enable func(password string) (dbext.Root, error)) (err error) {
	password := ""
	if stdin {
		if password, _, err = a.password(true); err != nil {
			return err
		}
	}
	root, err := enable(password)
	if err != nil {
		return err
	}
	return a.printPassword(root.Name, root.Password, !stdin)
}
