package drills

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

const (
	maxTries = 3 // to have the probe looked at
	// keptProblems are how many problems the evidence has, and problemBytes how long each of its texts may be.
	keptProblems = 5
	problemBytes = 240
)

// checks reports whether a probe's guest can look at what it holds.
func checks(probe etcdschema.Instance) bool {
	return slices.Contains(probe.Capabilities, datastores.CanCheck)
}

// ask has the guest of the probe look at what it holds.
func (d *Drills) ask(s etcdschema.Snapshot, all *etcdschema.Drills, probe etcdschema.Instance, now time.Time) ([]etcdschema.Op, error) {
	q, err := plan.OpenQuestion(d.Control.Keys, etcdschema.DrillsKey(all.Project, all.Instance).String(), all.Question)
	if err != nil {
		return nil, err
	}
	id, command, err := plan.AskToCheck(s, d.Control.Signer, probe, q, now)
	if err != nil {
		return nil, err
	}
	all.Now.Step, all.Now.Command = etcdschema.DrillChecks, id
	all.Now.Tries++
	return []etcdschema.Op{command}, nil
}

// checked looks what the guest has found.
func (d *Drills) checked(ctx context.Context, item due.Item, all etcdschema.Drills, probe lifecycle.Member) error {
	drill := *all.Now
	result, err := etcdschema.Get(ctx, d.Control.Store, etcdschema.ResultKey(drill.Command))
	if err == nil {
		return d.step(ctx, item, func(_ etcdschema.Snapshot, all *etcdschema.Drills) (time.Time, []etcdschema.Op, error) {
			all.Now.Checked = result.Value.At
			var why string
			all.Now.Report, why = judge(result.Value.Result)
			ends(all.Now, why)
			return d.Control.Now(), nil, nil
		})
	}
	if !errors.Is(err, etcdschema.ErrNotFound) {
		return err
	}
	method, _ := datastores.LookupMethod(datastores.MethodCheckData)
	_, err = etcdschema.Get(ctx, d.Control.Store, etcdschema.CommandKey(probe.ID, drill.Command))
	late := d.Control.Now().Sub(drill.Restored) > method.Timeout
	switch {
	case err != nil && !errors.Is(err, etcdschema.ErrNotFound):
		return err
	case late:
		return d.fail(ctx, item, fmt.Sprintf("It was not looked at within %s.", method.Timeout))
	case err == nil:
		return d.later(ctx, item, drill.Restored)
	case drill.Tries >= maxTries:
		return d.fail(ctx, item, "It could not be looked at: the guest's answer was lost.")
	}
	return d.step(ctx, item, func(s etcdschema.Snapshot, all *etcdschema.Drills) (time.Time, []etcdschema.Op, error) {
		now := d.Control.Now().UTC()
		ops, err := d.ask(s, all, probe.Instance, now)
		return now.Add(lookFirst), ops, err
	})
}

// judge says what a guest has found, and why a drill has failed with that; "": it has not.
func judge(result agentpoll.Result) (*datastores.CheckReport, string) {
	if result.Error != nil {
		return nil, "It could not be looked at: " + result.Error.Message
	}
	var r datastores.CheckReport
	if err := json.Unmarshal(result.Value, &r); err != nil {
		return nil, "What the guest has found cannot be read."
	}
	problems := len(r.Problems)
	r.By, r.Unit, r.Digest = short(r.By), short(r.Unit), short(r.Digest)
	r.Problems = r.Problems[:min(problems, keptProblems)]
	for i, p := range r.Problems {
		r.Problems[i] = short(p)
	}
	switch {
	case problems > 0:
		return &r, fmt.Sprintf("%s has found what is damaged: %s", r.By, r.Problems[0])
	case r.Answered != nil && !*r.Answered:
		return &r, "The question was answered otherwise than it must be."
	}
	return &r, ""
}

// short is what a guest says, as far as it is kept.
func short(text string) string {
	return limits.Shortened(strings.ToValidUTF8(text[:min(len(text), problemBytes)], ""))
}
