package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/across"
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

// acrossCommands carry backups from one installation to another.
func (a *app) acrossCommands() []*cobra.Command {
	return []*cobra.Command{
		a.exportBackup(), a.importBackup(),
		simple("key FILE", "Make a key to which exports can be sealed: the private half goes to FILE, the public one is printed", func(_ *cobra.Command, args []string) error {
			public, err := across.NewKey(args[0])
			if err != nil {
				return err
			}
			return a.print(map[string]string{"recipient": public}, text(public))
		}),
	}
}

// longTransfer is how long a transfer may take unless --timeout says it: as long as a gateway lets it.
const longTransfer = 24 * time.Hour

// transfers has a command have that much time.
func (a *app) transfers(cmd *cobra.Command) *cobra.Command {
	cmd.PreRun = func(cmd *cobra.Command, _ []string) {
		if !cmd.Flags().Changed("timeout") {
			a.timeout = longTransfer
		}
	}
	return cmd
}

func (a *app) exportBackup() *cobra.Command {
	keys := across.Keys{Ask: a.askPassphrase}
	cmd := a.transfers(a.api("export BACKUP FILE", "Write a backup to a sealed file, with all that it builds on", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		id, err := findBackup(ctx, c, args[0])
		if err != nil {
			return err
		}
		to, err := keys.Seal()
		if err != nil {
			return err
		}
		items, err := across.Export(ctx, c, id, args[1], to, a.meter("read"))
		if err != nil {
			return err
		}
		info, err := os.Stat(args[1])
		if err != nil {
			return err
		}
		return a.print(map[string]any{"file": args[1], "bytes": info.Size(), "backups": items},
			text(fmt.Sprintf("%s has %s: %d backups, %.1f MB", args[1], args[0], len(items), float64(info.Size())/(1<<20))))
	}))
	cmd.Long = `Write a backup to a sealed file, with all that it builds on.

The file is sealed with a passphrase, or to public keys, of which none reaches a gateway; age, the program, opens it, too. It
appears under its name when it is whole. "coffer backup import" makes a backup of it in any project of any installation.`
	cmd.Example = `  coffer backup key owner.key
  coffer backup export shop-nightly shop.backup --recipient age1…
  coffer backup import shop.backup --name shop --identity owner.key`
	cmd.Flags().StringVar(&keys.PassphraseFile, "passphrase-file", "", "file whose first line is the passphrase; else it is asked for")
	cmd.Flags().StringArrayVar(&keys.Recipients, "recipient", nil, "public key (age1…) whose owner alone can open the file; may be repeated")
	return cmd
}

func (a *app) importBackup() *cobra.Command {
	keys := across.Keys{Ask: a.askPassphrase}
	var wish across.Wish
	var from string
	var size float64
	cmd := a.transfers(a.api("import FILE", "Make a backup of a file that backup export has made, or a tool of the server's own", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		if from != "" {
			return a.importPlain(ctx, c, from, args[0], wish, size)
		}
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		as, err := keys.Open()
		if err != nil {
			return err
		}
		archive, err := across.Open(f, info.Size(), as...)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		last := archive.Backups[len(archive.Backups)-1]
		wish.Name, wish.Description = cmp.Or(wish.Name, last.Name), cmp.Or(wish.Description, last.Description)
		b, err := across.Import(ctx, c, archive, wish, a.meter("sent"))
		if err != nil {
			return err
		}
		return a.print(b, backupFields(b))
	}))
	cmd.Example = `  coffer backup import shop.backup --name shop --identity owner.key
  mariadb-backup --backup --stream=xbstream | coffer backup import - --from mariadb-backup --datastore mariadb --datastore-version 10.11 --name shop --size 20
  pg_basebackup -Ft -z -D there && coffer backup import there --from pg_basebackup --datastore postgresql --datastore-version 17 --name shop`
	cmd.Flags().StringVar(&from, "from", "", "the server's own tool that has written FILE, a directory, or the standard input (-), such as mariadb-backup or pg_basebackup")
	cmd.Flags().Float64Var(&size, "size", 0, "with --from: how many GB the data takes on a volume; of files that is counted")
	cmd.Flags().StringVar(&wish.Name, "name", "", "of the backup; else it has that of the one that was exported")
	cmd.Flags().StringVar(&wish.Description, "description", "", "what it is for")
	cmd.Flags().StringVar(&wish.Datastore, "datastore", "", "datastore of which it is, where that has another name than it had")
	cmd.Flags().StringVar(&wish.Version, "datastore-version", "", "version of which it is, where that has another name than it had")
	cmd.Flags().StringVar(&keys.PassphraseFile, "passphrase-file", "", "file whose first line is the passphrase; else it is asked for")
	cmd.Flags().StringVar(&keys.IdentityFile, "identity", "", "file with the private key of one of the recipients")
	return cmd
}

// importPlain makes a backup of what a tool of a server has written.
func (a *app) importPlain(ctx context.Context, c *gophercloud.ServiceClient, tool, name string, wish across.Wish, size float64) error {
	if wish.Name == "" || wish.Datastore == "" || wish.Version == "" {
		return usagef("--from needs --name, and --datastore and --datastore-version, of which the backup is")
	}
	p, err := across.OpenPlain(tool, name, a.in)
	if err != nil {
		return err
	}
	var bytes int64
	switch {
	case size < 0:
		return usagef("--size is more than 0")
	case size == 0 && p.Once():
		return usagef("--size is needed: how much the data takes cannot be counted before the standard input was sent")
	case size == 0:
		if bytes, err = p.Measure(a.meter("counted")); err != nil {
			return err
		}
	}
	b, err := p.Import(ctx, c, wish, size, bytes, a.meter("sent"))
	if err != nil {
		return err
	}
	return a.print(b, backupFields(b))
}

// askPassphrase asks a person, twice for one that is new.
func (a *app) askPassphrase(prompt string, twice bool) (string, error) {
	in, is := a.in.(*os.File)
	if !is || !term.IsTerminal(int(in.Fd())) {
		return "", usagef("nobody can be asked for the passphrase here: give --passphrase-file, or a key")
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.errs, prompt)
		defer fmt.Fprintln(a.errs)
		line, err := term.ReadPassword(int(in.Fd()))
		return string(line), err
	}
	said, err := ask(prompt)
	if err != nil || !twice {
		return said, err
	}
	if again, err := ask("The same again: "); err != nil || again != said {
		return "", cmp.Or(err, fmt.Errorf("the passphrases differ"))
	}
	return said, nil
}

// meter shows how a transfer goes on: on a terminal as it does, elsewhere at the end of each part.
func (a *app) meter(did string) across.Meter {
	_, terminal := onTerminal(a.errs)
	shown := time.Time{}
	return func(n, all int, done, total int64) {
		end := done == total
		if !terminal && !end || terminal && !end && time.Since(shown) < 200*time.Millisecond {
			return
		}
		shown = time.Now()
		line := fmt.Sprintf("part %d of %d: %.1f MB %s", n+1, all, float64(done)/(1<<20), did)
		if total > 0 && !end {
			line += fmt.Sprintf(", %d%%", 100*done/total)
		}
		switch {
		case terminal && !end:
			fmt.Fprintf(a.errs, "\r%s\x1b[K", line)
		case terminal:
			fmt.Fprintf(a.errs, "\r%s\x1b[K\n", line)
		default:
			fmt.Fprintln(a.errs, line)
		}
	}
}
