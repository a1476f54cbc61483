package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
)

// Hosts judge definitions: whether a plug-in takes the options, and whether the machine has or can get its programs. A host
// is asked when somebody reads the catalogue and the host has not judged all of it, or its machine has changed since. What it
// answers is stored with the command's result, so every gateway has it.

const (
	checkPatience = 5 * time.Second // of one who needs the verdict
	checkAgain    = time.Minute     // after a host that could not be asked
)

// conversations are those with hosts about definitions, one at a time with each.
type conversations struct {
	mu   sync.Mutex
	with map[string]*conversation
}

type conversation struct {
	done   chan struct{} // closed at its end
	failed time.Time     // when; zero: it has not. Valid after done
}

// begin returns the conversation with a host, and whether the caller has to hold it; nil when the last one has failed not
// long ago.
func (c *conversations) begin(host string, now time.Time) (talk *conversation, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if talk = c.with[host]; talk != nil {
		select {
		case <-talk.done:
			if now.Before(talk.failed.Add(checkAgain)) {
				return nil, false
			}
		default:
			return talk, false
		}
	}
	if c.with == nil {
		c.with = map[string]*conversation{}
	}
	talk = &conversation{done: make(chan struct{})}
	c.with[host] = talk
	return talk, true
}

// askHosts has the hosts asked that should be. It returns what ends when those have answered that have not judged all
// definitions yet.
func (cp *Plane) askHosts(c etcdschema.Catalogue) (unknown []<-chan struct{}) {
	for host, h := range c.Hosts {
		ask, isUnknown := h.Ask(c.Definitions, cp.Now())
		if len(ask) == 0 {
			continue
		}
		talk, mine := cp.conversations.begin(host, cp.Now())
		if mine {
			cp.work.Go(func() {
				defer close(talk.done)
				if err := cp.converse(cp.running, host); err != nil {
					talk.failed = cp.Now()
					cp.Log.Info("a host could not be asked about definitions", "host_id", host, "err", err)
				}
			})
		}
		if talk != nil && isUnknown {
			unknown = append(unknown, talk.done)
		}
	}
	return unknown
}

// converse asks a host until it has judged everything, also what is defined meanwhile.
func (cp *Plane) converse(ctx context.Context, host string) error {
	for {
		c, err := cp.Store.Catalogue(ctx)
		if err != nil {
			return err
		}
		ask, _ := c.Hosts[host].Ask(c.Definitions, cp.Now())
		if len(ask) == 0 {
			return nil
		}
		if err := cp.check(ctx, host, deployments.CheckArgs{Definitions: ask}); err != nil {
			return err
		}
	}
}

// check asks a host and waits until its answer is stored.
func (cp *Plane) check(ctx context.Context, host string, args deployments.CheckArgs) error {
	_, err := cp.AskAgent(ctx, Caller{}, host, deployments.MethodCheck, deployments.CheckTimeout, args)
	return err
}

// Checked stores what a host has answered. A definition that it says nothing of is good, as far as anybody knows.
func (cp *Plane) Checked(s etcdschema.Snapshot, host string, cmd etcdschema.Command, value json.RawMessage) ([]etcdschema.Op, error) {
	var args deployments.CheckArgs
	var said deployments.CheckReply
	if err := errors.Join(json.Unmarshal(cmd.Args, &args), json.Unmarshal(value, &said)); err != nil {
		return nil, agentpoll.Errorf(agentpoll.Invalid, "the verdicts cannot be read: %v", err)
	}
	key := etcdschema.HostCheckKey(host)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return nil, err // the host was deleted meanwhile
	}
	check := rec.Value
	check.Verdicts, check.Checked, check.At = map[string]datastores.Verdict{}, check.Inventory, cp.Now().UTC()
	for _, d := range args.Definitions {
		check.Verdicts[d.ID()] = said.Verdicts[d.ID()]
	}
	return []etcdschema.Op{etcdschema.Put(key, check)}, nil
}

// Settled is the catalogue after the hosts have judged it, or have had the time to.
func (cp *Plane) Settled(ctx context.Context) (etcdschema.Catalogue, error) {
	c, err := cp.readCatalogue(ctx)
	if err != nil {
		return c, err
	}
	unknown := cp.askHosts(c)
	if len(unknown) == 0 {
		return c, nil
	}
	patience := time.NewTimer(checkPatience)
	defer patience.Stop()
	for _, done := range unknown {
		select {
		case <-done:
		case <-patience.C:
			return cp.readCatalogue(ctx)
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
	return cp.readCatalogue(ctx)
}

// Review has hosts judge what is new, when nobody waits for it.
func (cp *Plane) Review(ctx context.Context) {
	if _, err := cp.Catalogue(ctx); err != nil && ctx.Err() == nil {
		cp.Log.Warn("the definitions could not be reviewed; the next reader does it", "err", err)
	}
}

// cannotBeHad refuses a version that no host can serve.
func cannotBeHad(v etcdschema.Version) error {
	return fault.Errorf(fault.BadRequest, "Datastore version '%s' of %s cannot be had: %s.", v.Name, v.Datastore, v.Unserved)
}

// refusedBy refuses a version that the host cannot serve on which an instance is.
func refusedBy(hosts map[string]etcdschema.HostCheck, host string, v etcdschema.Version) error {
	h, ok := hosts[host]
	if !ok || h.Serves(v.Definition()) {
		return nil
	}
	if reason := h.Verdicts[v.Definition().ID()].Unable; reason != "" {
		return fault.Errorf(fault.Unprocessable, "The instance's host cannot serve version %s: %s.", v.Name, reason)
	}
	return fault.Errorf(fault.Unprocessable, "The instance's host cannot serve version %s.", v.Name)
}

// VerdictsOf lists, for operators, what a host can and cannot serve.
func VerdictsOf(c etcdschema.Catalogue, host string) (serves []string, cannot map[string]string) {
	h := c.Hosts[host]
	serves, cannot = []string{}, map[string]string{}
	for _, d := range c.Datastores {
		for _, v := range d.Versions {
			if !h.Starts(v.Server.Manager) {
				continue
			}
			name := fmt.Sprintf("%s %s", v.Datastore, v.Name)
			switch verdict := h.Verdicts[v.Definition().ID()]; {
			case !h.Has(v.Server.Image):
				cannot[name] = "there is no image " + v.Server.Image
			case verdict.Good():
				serves = append(serves, name)
			case verdict.Unable != "":
				cannot[name] = verdict.Unable
			default:
				cannot[name] = "its options are not good: " + verdict.Problems[0]
			}
		}
	}
	return serves, cannot
}
