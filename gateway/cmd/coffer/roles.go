package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func (a *app) promoteReplica() *cobra.Command {
	return a.waitingFor("promote REPLICA", "Make a replica the source, and its source a replica", "promote",
		func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			return dbext.Promote(ctx, c, id)
		},
		func(ctx context.Context, c *gophercloud.ServiceClient, id, marker string) error {
			if err := a.follow(ctx, c, id, marker, "promote", a.progress(a.errs)); err != nil {
				return err
			}
			return a.membersFollow(ctx, c, id)
		})
}

func (a *app) upgradeInstance() *cobra.Command {
	return a.waitingFor("upgrade INSTANCE VERSION", "Move an instance to another version of its datastore; a source, with its replicas", "upgrade",
		func(ctx context.Context, c *gophercloud.ServiceClient, id string, args []string) error {
			return dbext.Upgrade(ctx, c, id, args[0])
		},
		func(ctx context.Context, c *gophercloud.ServiceClient, id, marker string) error {
			if err := a.follow(ctx, c, id, marker, "upgrade", a.progress(a.errs)); err != nil {
				return err
			}
			return upgraded(ctx, c, id, marker)
		})
}

// upgraded reports an upgrade that was refused, or stopped half way, and has left the instance well: its timeline ends with why.
func upgraded(ctx context.Context, c *gophercloud.ServiceClient, id, marker string) error {
	events, err := dbext.ListEvents(ctx, c, id, marker)
	for _, e := range slices.Backward(events) {
		switch e.Kind {
		case "fault":
			return errors.New(e.Message)
		case "done":
			return err
		}
	}
	return err
}

func (a *app) followSource() *cobra.Command {
	var discard bool
	cmd := a.waiting("follow REPLICA", "Make a replica follow its source again", "follow", func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
		return dbext.Follow(ctx, c, id, discard)
	})
	cmd.Flags().BoolVar(&discard, "discard", false, "throw away all that the replica has, and copy its source anew")
	return cmd
}

func (a *app) ejectSource() *cobra.Command {
	var replicas []dbext.Ref // before
	return a.waitingFor("eject SOURCE", "Replace a source that is out of reach by the replica that has most", "eject",
		func(ctx context.Context, c *gophercloud.ServiceClient, id string, _ []string) error {
			in, err := dbext.GetInstance(ctx, c, id)
			if err != nil {
				return err
			}
			replicas = in.Replicas
			return dbext.Eject(ctx, c, id)
		},
		func(ctx context.Context, c *gophercloud.ServiceClient, id, marker string) error {
			return a.ejected(ctx, c, id, marker, replicas)
		})
}

// ejected waits until one of the replicas has taken the place of their source and the others follow it. The source's own part is
// the vote, which ends in ERROR whatever comes of it: the one that is elected has an operation of its own then.
func (a *app) ejected(ctx context.Context, c *gophercloud.ServiceClient, id, marker string, replicas []dbext.Ref) error {
	failed := a.follow(ctx, c, id, marker, "eject", a.progress(a.errs))
	for _, r := range replicas {
		marker, err := lastEvent(ctx, c, r.ID)
		if err == nil {
			err = a.follow(ctx, c, r.ID, marker, "promote", a.progress(a.errs))
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", r.ID, err))
			continue
		}
		in, err := dbext.GetInstance(ctx, c, r.ID)
		if err == nil && in.ReplicaOf == nil {
			a.say("%s has taken the place of %s", r.ID, id)
			return a.membersFollow(ctx, c, r.ID)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// membersFollow waits for the other members of the set of an instance that has become its source, and fails when one of them
// does not follow it.
func (a *app) membersFollow(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	in, err := dbext.GetInstance(ctx, c, id)
	if err != nil {
		return err
	}
	var failed []error
	for _, member := range in.Replicas {
		marker, err := lastEvent(ctx, c, member.ID)
		if err == nil {
			err = a.follow(ctx, c, member.ID, marker, "following", a.progress(a.errs))
		}
		if err != nil && !gophercloud.ResponseCodeIs(err, http.StatusNotFound) { // else it was deleted meanwhile
			failed = append(failed, fmt.Errorf("%s is the source now, but %s does not follow it: %w", id, member.ID, err))
		}
	}
	return errors.Join(failed...)
}

// failoverOf says whether a replica takes the place of a source that is lost without being asked.
func (a *app) failoverOf() *cobra.Command {
	var f dbext.Failover
	cmd := a.api("failover SOURCE automatic|manual", "Have a replica take the place of the source when that is lost, or nobody without being asked",
		func(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
			id, err := findInstance(ctx, c, args[0])
			if err != nil {
				return err
			}
			f.Mode = args[1]
			return a.done(dbext.SetFailover(ctx, c, id, f), "failover of %s is %s", args[0], args[1])
		})
	cmd.Flags().IntVar(&f.Acks, "acknowledgements", 0, "replicas that must have a commit before it is acknowledged (1)")
	cmd.Flags().IntVar(&f.Grace, "grace", 0, "seconds for which the source may be away (30)")
	cmd.Flags().StringVar(&f.Degrade, "degrade", "", "with too few replicas: asynchronous, or never (asynchronous)")
	return cmd
}
