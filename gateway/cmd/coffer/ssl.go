package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

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
