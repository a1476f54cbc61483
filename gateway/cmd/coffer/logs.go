package main

import (
	"context"
	"strconv"

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
