package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) hostCommands() *cobra.Command {
	able := func(use, short, did string, disabled bool) *cobra.Command {
		return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findHost(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(dbext.UpdateHost(ctx, c, id, dbext.HostOpts{Disabled: &disabled}), "%s %s", did, args[0])
		})
	}
	return group("host", "Machines that run instances (admin)",
		a.api("list", "List the hosts", a.listHosts),
		a.api("show HOST", "Show a host, by name or id", a.showHost),
		able("disable HOST", "Place no new instances on a host", "disabled", true),
		able("enable HOST", "Place instances on a host again", "enabled", false),
		a.setHost(),
		a.api("delete HOST", "Forget a host without instances; its agent is refused from then on", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findHost(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(dbext.DeleteHost(ctx, c, id), "deleted %s", args[0])
		}),
	)
}

// setHost says where a host is. What the host itself said counts only when it enrols: one that was taken over cannot draw instances.
func (a *app) setHost() *cobra.Command {
	var zone string
	var labels []string
	var cmd *cobra.Command
	cmd = a.api("set HOST", "Say where a host is and what is special about it; new instances are placed by that", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		var opts dbext.HostOpts
		if cmd.Flags().Changed("availability-zone") {
			opts.Zone = &zone
		}
		if cmd.Flags().Changed("label") {
			opts.Labels = &datastores.Labels{}
			for _, label := range labels {
				key, value, ok := strings.Cut(label, "=")
				if !ok {
					return usagef("--label %q: want key=value", label)
				}
				(*opts.Labels)[key] = value
			}
		}
		if opts == (dbext.HostOpts{}) {
			return usagef("--availability-zone or --label, one of them at least")
		}
		id, err := findHost(ctx, c, args[0])
		if err != nil {
			return err
		}
		return a.done(dbext.UpdateHost(ctx, c, id, opts), "set %s", args[0])
	})
	cmd.Example = `  coffer host set db7 --availability-zone north --label disk=nvme,rack=7`
	cmd.Flags().StringVar(&zone, "availability-zone", "", "zone that it is in; \"\": none")
	cmd.Flags().StringSliceVar(&labels, "label", nil, "key=value, all that it has; may be repeated; \"\": none")
	return cmd
}

func (a *app) listHosts(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
	all, err := dbext.ListHosts(ctx, c)
	if err != nil {
		return err
	}
	t := table{{"id", "name", "state", "zone", "labels", "managers", "instances", "free", "of", "pool"}}
	for _, h := range all {
		t = append(t, []string{
			h.ID, h.Name, hostState(h), h.Zone, h.Labels.String(), strings.Join(h.Managers, ", "), strconv.Itoa(len(h.Instances)), h.Free.String(), h.Capacity.String(), h.Pool,
		})
	}
	if err := a.print(all, t); err != nil {
		return err
	}
	for _, h := range all {
		for _, note := range h.Notes {
			a.say("%s: %s", h.Name, note)
		}
		for _, version := range slices.Sorted(maps.Keys(h.Cannot)) {
			a.say("%s cannot serve %s: %s", h.Name, version, h.Cannot[version])
		}
	}
	return nil
}

func (a *app) showHost(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
	all, err := dbext.ListHosts(ctx, c)
	if err != nil {
		return err
	}
	id, err := find("host", args[0], func() ([]dbext.Host, error) { return all, nil }, nameHost)
	if err != nil {
		return err
	}
	h := all[slices.IndexFunc(all, func(h dbext.Host) bool { return h.ID == id })]
	f := fields{
		{"id", h.ID}, {"name", h.Name}, {"state", hostState(h)}, {"since", h.Since.String()}, {"enrolled", h.Enrolled.String()},
		{"availability zone", h.Zone}, {"labels", h.Labels.String()}, {"driver", h.Driver}, {"free", h.Free.String()}, {"of", h.Capacity.String()}, {"pool", h.Pool},
		{"managers", strings.Join(h.Managers, ", ")}, {"instances", strings.Join(h.Instances, ", ")}, {"serves", strings.Join(h.Serves, ", ")},
	}
	for _, version := range slices.Sorted(maps.Keys(h.Cannot)) {
		f = append(f, [2]string{"cannot serve", version + ": " + h.Cannot[version]})
	}
	for _, note := range h.Notes {
		f = append(f, [2]string{"note", note})
	}
	return a.print(h, f)
}

func hostState(h dbext.Host) string {
	state := "away"
	if h.Connected {
		state = "connected"
	}
	if h.Locked != "" {
		state = "locked: " + h.Locked
	}
	if h.Disabled {
		state += ", disabled"
	}
	return state
}

// findHost turns a name or id into an id.
func findHost(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	return find("host", ref, func() ([]dbext.Host, error) { return dbext.ListHosts(ctx, c) }, nameHost)
}

func nameHost(h dbext.Host) (id, name string) { return h.ID, h.Name }

func (a *app) enrolmentCommands() *cobra.Command {
	var host string
	var opts dbext.EnrolmentOpts
	var most deployments.Capacity
	create := a.api("create", "Make a token with which a host enrols, once, and print it", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
		if host != "" {
			id, err := findHost(ctx, c, host)
			if err != nil {
				return err
			}
			host = id
		}
		opts.Host = host
		if most != (deployments.Capacity{}) {
			opts.Capacity = &most
		}
		e, err := dbext.CreateEnrolment(ctx, c, opts)
		if err != nil {
			return err
		}
		return a.print(e, fields{{"token", e.Token}, {"host", e.AgentID}, {"expires", e.Expires.String()}, {"ca", e.CA}})
	})
	create.Flags().StringVar(&host, "host", "", "the host that enrols again under its old id; a new one when left out")
	create.Flags().IntVar(&most.MemoryMB, "memory", 0, "MB that it may give at most; what it says first when left out")
	create.Flags().IntVar(&most.VCPUs, "vcpus", 0, "processors that it may give at most")
	create.Flags().IntVar(&most.DiskGB, "disk", 0, "GB of disk that it may give at most")
	create.Flags().StringVar(&opts.Pool, "address-pool", "", "network that its addresses must lie in")
	return group("enrolment", "Tokens with which hosts enrol (admin)", create)
}

func (a *app) agentCommands() *cobra.Command {
	return group("agent", "Agents of hosts and guests (admin)",
		a.api("unlock ID", "End the lock of an agent whose identity was used twice, once the copy is gone", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			return a.done(dbext.UnlockAgent(ctx, c, args[0]), "unlocked %s: the first to show one of its last two credentials goes on, and nobody else", args[0])
		}),
	)
}

func (a *app) auditCommands() *cobra.Command {
	const whose = "An agent is the guest of an instance of any project, or a host, by name or id."
	show := a.api("show AGENT", "List what was asked of an agent: who, what, when, and how it ended", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		audit, err := a.audit(ctx, c, args[0])
		if err != nil {
			return err
		}
		t := table{{"row", "ended", "asked by", "method", "instance", "ended with", "request"}}
		for _, r := range audit.Rows {
			t = append(t, []string{strconv.FormatInt(r.Seq, 10), r.Ended.Format(time.RFC3339), cmp.Or(r.User, "-"), r.Method, r.Instance, auditEnd(r), cmp.Or(r.Request, "-")})
		}
		return a.print(audit, t)
	})
	verify := a.api("verify AGENT", "Hold the gateways' rows against the agent's: find what was omitted, changed or put elsewhere", func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
		audit, err := a.audit(ctx, c, args[0])
		if err != nil {
			return err
		}
		t := table{{"end", "row", "found", "what"}}
		for _, f := range audit.Findings {
			t = append(t, []string{f.End, strconv.FormatInt(f.Seq, 10), f.Kind, f.Message})
		}
		if err := a.print(audit, t); err != nil {
			return err
		}
		since := "nothing is kept so far"
		if audit.Since != nil {
			since = "not kept before " + audit.Since.Format(time.RFC3339)
		}
		a.say("%d rows at the gateways, %s; the same at both ends: %d, left by one of them: %d, of a former agent: %d, the agent keeps none: %d",
			len(audit.Rows), since, audit.Compared, audit.Older, audit.Former, audit.Unkept)
		switch {
		case len(audit.Findings) > 0:
			return fmt.Errorf("%d rows are not as they must be", len(audit.Findings))
		case audit.Alone != "":
			return &codedError{exitIncomplete, fmt.Errorf("the gateways' rows are whole, but the agent's were not looked at: %s", audit.Alone)}
		}
		a.say("whole at both ends")
		return nil
	})
	for _, cmd := range []*cobra.Command{show, verify} {
		cmd.Long = cmd.Short + ".\n\n" + whose
	}
	return group("audit", "What was asked of guests and hosts, as both ends keep it (admin)", show, verify)
}

// audit reads what is kept of an agent: a host, or the guest of an instance of any project.
func (a *app) audit(ctx context.Context, c *gophercloud.ServiceClient, ref string) (dbext.Audit, error) {
	id, err := findHost(ctx, c, ref)
	if code := (*codedError)(nil); errors.As(err, &code) && code.code == exitNotFound {
		id, err = find("instance", ref, func() ([]dbext.Instance, error) { return dbext.ListAllInstances(ctx, c) },
			func(in dbext.Instance) (string, string) { return in.ID, in.Name })
	}
	if err != nil {
		return dbext.Audit{}, err
	}
	return dbext.GetAudit(ctx, c, id)
}

// auditEnd is how a command ended, in a few words.
func auditEnd(r dbext.AuditRow) string {
	switch {
	case r.Withdrawn:
		return "withdrawn"
	case r.Failed != "":
		return "failed: " + r.Failed
	case len(r.Result) == 0:
		return "done"
	}
	return fmt.Sprintf("done, result %x", r.Result[:min(6, len(r.Result))])
}

func (a *app) maintenanceCommands() *cobra.Command {
	// on makes a command whose argument is an instance.
	on := func(use, short, did string, run func(context.Context, *gophercloud.ServiceClient, string) error) *cobra.Command {
		return a.api(use, short, func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findInstance(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.done(run(ctx, c, id), did, args[0])
		})
	}
	var own, def windowFlags
	window := on("window INSTANCE", "Say when an operator may interrupt an instance, its set or cluster", "operators may interrupt %s then", func(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
		w, err := own.given()
		if err != nil {
			return err
		}
		return dbext.SetWindow(ctx, c, id, w)
	})
	own.on(window.Flags())
	defaults := a.api("default", "Say when operators may interrupt the instances of the project that have no window of their own", func(ctx context.Context, c *gophercloud.ServiceClient, _ []string) error {
		w, err := def.given()
		if err != nil {
			return err
		}
		return a.done(dbext.SetDefaultWindow(ctx, c, w), "the default maintenance window of the project is another one")
	})
	def.on(defaults.Flags())
	var version string
	var restart bool
	ask := on("ask INSTANCE", "Have an instance upgraded or restarted in its window (admin)", "it waits for the maintenance window of %s", func(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
		switch {
		case version != "" && !restart:
			return dbext.AskUpgrade(ctx, c, id, version)
		case restart && version == "":
			return dbext.AskRestart(ctx, c, id)
		}
		return usagef("say --upgrade VERSION or --restart")
	})
	ask.Flags().StringVar(&version, "upgrade", "", "the version to which it is brought")
	ask.Flags().BoolVar(&restart, "restart", false, "its server is restarted")
	end := func(begin bool) func(context.Context, *gophercloud.ServiceClient, string) error {
		return func(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
			return dbext.EndMaintenance(ctx, c, id, begin)
		}
	}
	return group("maintenance", "Windows in which operators may interrupt instances", window, defaults, ask,
		on("begin INSTANCE", "Have what waits for its window begin at once", "what waited for the window of %s begins", end(true)),
		on("cancel INSTANCE", "Have what waits for its window not happen", "nothing waits for the window of %s any more", end(false)),
	)
}

// windowFlags are the fields of a maintenance window.
type windowFlags struct {
	dbext.Window
	none bool
}

func (f *windowFlags) on(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.Days, "days", nil, "mon, tue, wed, thu, fri, sat, sun, with commas")
	flags.StringVar(&f.Start, "start", "", "when it opens, as 02:30")
	flags.IntVar(&f.Minutes, "minutes", 60, "how long it is open")
	flags.StringVar(&f.Zone, "timezone", "", "of --start, as IANA names it; UTC when it is not given")
	flags.BoolVar(&f.none, "none", false, "there is none any more")
}

func (f *windowFlags) given() (*dbext.Window, error) {
	switch {
	case f.none:
		return nil, nil
	case len(f.Days) == 0 || f.Start == "":
		return nil, usagef("say --days and --start, such as --days sat,sun --start 02:30, or --none")
	}
	return &f.Window, nil
}

// windowFields tell when an operator may interrupt an instance.
func windowFields(m *dbext.Maintenance) (all fields) {
	if m == nil {
		return nil
	}
	if w := m.Window; w != nil {
		zone := w.Zone
		if zone == "" {
			zone = "UTC"
		}
		all = append(all, fields{{"maintenance window", fmt.Sprintf("%s %s %s, %d min", strings.Join(w.Days, ","), w.Start, zone, w.Minutes)}, {"next", m.Next.String()}}...)
	}
	if p := m.Pending; p != nil {
		all = append(all, fields{{"waits for it", strings.TrimSpace(p.Action + " " + p.Version)}, {"asked by", p.User}, {"not yet", p.Reason}}...)
	}
	return all
}
