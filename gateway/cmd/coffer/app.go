package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/spf13/cobra"
)

// app is what all commands share: where they read and write, and the flags that all of them have.
type app struct {
	in        io.Reader
	out, errs io.Writer
	getenv    func(string) string
	poll      time.Duration // between two looks at what is awaited
	running   bool          // the command line was understood; what fails now is no matter of usage

	output   string
	endpoint string
	dryRun   bool
	token    string
	cacert   string
	timeout  time.Duration
}

// command builds the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "coffer",
		Short: "Databases as a service: instances, their databases and users, and the hosts that run them",
		Long: `Databases as a service: instances, their databases and users, and the hosts that run them.

Log in as openstack clients do, with OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME (domains are "Default"), or
give --endpoint https://HOST:8779/v1.0/PROJECT and --token. OS_CACERT names the CA of the gateways.

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 out of reach or out of time,
6 something would be lost.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          needCommand,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if a.output != "table" && a.output != "json" {
				return usagef("--output %q: want table or json", a.output)
			}
			a.running = true
			return nil
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errs)
	root.SetFlagErrorFunc(wrongFlag)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", "table", "table or json")
	flags.StringVar(&a.endpoint, "endpoint", "", "the project's URL, https://HOST:8779/v1.0/PROJECT, instead of a login; COFFER_ENDPOINT")
	flags.StringVar(&a.token, "token", "", "token for --endpoint; others can see it here: prefer COFFER_TOKEN")
	flags.StringVar(&a.cacert, "cacert", "", "PEM file of the CA that signed the gateway's certificate; OS_CACERT")
	flags.DurationVar(&a.timeout, "timeout", 30*time.Minute, "how long the command may take, waiting included")
	root.AddCommand(
		a.instanceCommands(), a.clusterCommands(), a.databaseCommands(), a.userCommands(), a.rootCommands(),
		a.backupCommands(), a.scheduleCommands(), a.drillCommands(), a.configurationCommands(), a.moduleCommands(), a.parametersCommand(), a.logCommands(),
		a.datastoreCommands(), a.flavorCommands(), a.quotaCommands(), a.limitsCommand(),
		a.hostCommands(), a.maintenanceCommands(), a.enrolmentCommands(), a.agentCommands(), a.auditCommands(),
		a.definitionsCommands(), a.keysCommands(), a.guestCommands(), a.epochCommands(),
		a.whoamiCommand(), a.versionCommand(), a.upCommand(), a.downCommand(), a.demoCommand(),
	)
	return root
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, RunE: needCommand}
	g.AddCommand(subs...)
	return g
}

// needCommand is what a group does by itself.
func needCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s has no command %q; %s --help lists them", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	_ = cmd.Help()
	return usagef("%s needs a command", cmd.CommandPath())
}

// simple makes a command that takes exactly as many arguments as its use names.
func simple(use, short string, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: named(use), RunE: run}
}

func (a *app) versionCommand() *cobra.Command {
	return simple("version", "Print the version", func(*cobra.Command, []string) error {
		return a.print(map[string]string{"version": version}, fields{{"version", version}})
	})
}

// find turns a thing's name or id into an id. kind is what people call it, and the command that lists it.
func find[T any](kind, ref string, list func() ([]T, error), of func(T) (id, name string)) (string, error) {
	if _, err := uuid.Parse(ref); err == nil {
		return ref, nil
	}
	all, err := list()
	if err != nil {
		return "", err
	}
	var ids []string
	for _, one := range all {
		if id, name := of(one); name == ref {
			ids = append(ids, id)
		}
	}
	switch len(ids) {
	case 0:
		return "", notFoundf("there is no %s %q; `coffer %s list` shows what there is", kind, ref, kind)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%d %ss are named %q; say which by id: %s", len(ids), kind, ref, strings.Join(ids, ", "))
}
