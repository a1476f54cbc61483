package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) logCommands() *cobra.Command {
	act := func(name, action, short string) *cobra.Command {
		return a.inInstance(name+" INSTANCE LOG", short, func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			log, err := dbext.ActOnLog(ctx, c, id, args[0], action)
			if err != nil {
				return err
			}
			return a.print(log, fields{
				{"name", log.Name}, {"type", log.Type}, {"status", log.Status},
				{"published", strconv.FormatInt(log.Published, 10)}, {"pending", strconv.FormatInt(log.Pending, 10)},
			})
		})
	}
	return group("log", "Logs of an instance's server",
		a.inInstance("list INSTANCE", "List an instance's logs, with how many bytes are published and pending", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			all, err := dbext.ListLogs(ctx, c, id)
			if err != nil {
				return err
			}
			t := table{{"name", "type", "status", "published", "pending"}}
			for _, log := range all {
				t = append(t, []string{log.Name, log.Type, log.Status, strconv.FormatInt(log.Published, 10), strconv.FormatInt(log.Pending, 10)})
			}
			return a.print(all, t)
		}),
		act("status", "", "Say how a log is, and how many bytes of it are published and pending"),
		act("enable", "enable", "Let the server write a log"),
		act("disable", "disable", "Let the server write a log no more"),
		act("publish", "publish", "Fetch what is new in a log from the server, for show"),
		act("discard", "discard", "Delete what was published of a log"),
		a.inInstance("show INSTANCE LOG", "Print everything that was published of a log", func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			return dbext.ReadLog(ctx, c, id, args[0], a.out)
		}),
	)
}

// showCA prints the certificate as it is, for a file.
func (a *app) showCA() *cobra.Command {
	return a.inInstance("ca INSTANCE", "Print the certificate that the database server is checked with", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
		ca, err := dbext.GetCA(ctx, c, id)
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.print(ca, nil)
		}
		_, err = fmt.Fprint(a.out, ca.Certificate)
		return err
	})
}

func (a *app) sslCommands() *cobra.Command {
	change := func(use, short string, to *dbext.SSLChange) *cobra.Command {
		return a.inInstance(use+" INSTANCE", short, func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			ssl, err := dbext.ChangeSSL(ctx, c, id, *to)
			if err != nil {
				return err
			}
			return a.printSSL(ssl)
		})
	}
	on := dbext.SSLChange{Enable: true}
	enable := change("enable", "Have the server take TLS, with a new certificate", &on)
	enable.Flags().StringVar(&on.Mode, "mode", "", "basic: plain connections too; enforced: TLS alone")
	return group("ssl", "How the database server speaks TLS",
		a.inInstance("show INSTANCE", "Show it, with the certificate", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			ssl, err := dbext.GetSSL(ctx, c, id)
			if err != nil {
				return err
			}
			return a.printSSL(ssl)
		}),
		enable,
		change("disable", "Have the server speak no TLS", &dbext.SSLChange{Disable: true}),
		change("rollback", "Go back to the mode before", &dbext.SSLChange{Rollback: true}),
	)
}

func (a *app) printSSL(ssl dbext.SSL) error {
	rows := fields{{"tls", ssl.Status}, {"mode", ssl.Mode}, {"restart required", yesNo(ssl.RestartRequired)}}
	if cert := ssl.Certificate; cert != nil {
		rows = append(rows, fields{{"certificate for", strings.Join(cert.SAN, ", ")}, {"good until", cert.ExpireAt}}...)
	}
	return a.print(ssl, rows)
}
