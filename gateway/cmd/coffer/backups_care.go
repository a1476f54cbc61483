package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) verifyBackup() *cobra.Command {
	var wait bool
	cmd := a.api("verify BACKUP", "Read a backup where it lies, with all that it builds on", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findBackup(ctx, c, args[0])
		if err == nil {
			err = dbext.VerifyBackup(ctx, c, id)
		}
		if err != nil || !wait {
			return a.done(err, "%s is being verified", args[0])
		}
		b, err := dbext.GetBackup(ctx, c, id)
		if err != nil {
			return err
		}
		told := ""
		b, err = a.watchBackup(ctx, c, b, func(b dbext.Backup) bool {
			if now := verification(b); b.Verifying() && now != told {
				told = now
				a.say("%s", now)
			}
			return b.Verifying()
		})
		if err == nil {
			err = a.print(b, backupFields(b))
		}
		if is := b.Verification; err == nil && (is == nil || is.Result != "intact") {
			return fmt.Errorf("backup %s was not found intact: %s", b.Name, cmp.Or(verification(b), "nobody has verified it"))
		}
		return err
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the result, and fail unless it is intact")
	return cmd
}

// verification is what is known of a backup where it lies, in a line; "": nothing.
func verification(b dbext.Backup) string {
	is := b.Verification
	switch {
	case is == nil:
		return ""
	case is.State == "waiting":
		return "waiting for a gateway"
	case is.State == "running":
		return fmt.Sprintf("reading: %d%%", 100*is.Done/max(is.Total, 1))
	case is.Result == "":
		return "" // it was cancelled
	case is.Reason != "":
		return fmt.Sprintf("%s at %s: %s", is.Result, is.Verified, is.Reason)
	}
	return fmt.Sprintf("%s at %s: %.1f MB in %.1f s", is.Result, is.Verified, float64(is.Bytes)/(1<<20), is.Seconds)
}

// grantCommands say which other projects may restore a backup.
func (a *app) grantCommands() []*cobra.Command {
	on := func(use, short, did string, run func(context.Context, *gophercloud.ServiceClient, string, string) error) *cobra.Command {
		return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findBackup(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(run(ctx, c, id, args[1]), did, args[0], args[1])
		})
	}
	return []*cobra.Command{
		on("grant BACKUP PROJECT", "Let another project restore a backup", "%s may be restored by project %s", dbext.GrantBackup),
		on("revoke BACKUP PROJECT", "Take a grant back", "%s may not be restored by project %s any more", dbext.RevokeBackup),
		a.api("grants BACKUP", "List the projects that may restore a backup", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findBackup(ctx, c, args[0])
			if err != nil {
				return err
			}
			all, err := dbext.ListGrants(ctx, c, id)
			if err != nil {
				return err
			}
			t := table{{"project", "granted by", "granted at"}}
			for _, g := range all {
				t = append(t, []string{g.Project, g.By, g.At.String()})
			}
			return a.print(all, t)
		}),
	}
}
