// Package drills tries whether what is kept of an instance can be restored: into an instance of its own that is looked at and removed. It asks
// the control plane as a client would; what has to be done next stands in the due index, so that any gateway does it.
package drills

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/pitr"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Drills are the drills of all projects.
type Drills struct {
	Control  *control.Plane
	Recovery *pitr.Recovery

	// Took is told how long it took to restore what a drill has found good; nil: nobody is.
	Took func(time.Duration)

	passed, failed atomic.Uint64
}

// Ended counts the drills that this gateway has seen the end of.
func (d *Drills) Ended() (passed, failed uint64) { return d.passed.Load(), d.failed.Load() }

// Request says what is to be tried: a backup, the newest one when none is named, or with Time or Latest a moment of the shipped log.
type Request struct {
	Backup   string   `json:"backup"`
	Time     string   `json:"time"`   // RFC 3339
	Latest   bool     `json:"latest"` // as far as the log was shipped
	Question Question `json:"question"`

	Schedule string `json:"-"` // id of the schedule that asks; "": somebody does
	// Sealed opens a question that is kept somewhere else.
	Sealed func() (datastores.Question, error) `json:"-"`
}

// Question is a query and its right answer, as a client sends them.
type Question struct {
	Database string `json:"database"`
	Query    string `json:"query"`
	Answer   string `json:"answer"`
}

// Check refuses with 400 what cannot be a question, without quoting it.
func (q Question) Check(where string) error {
	switch {
	case len(q.Query) > limits.MaxQuestion || len(q.Answer) > limits.MaxQuestion:
		return limits.Over("question", fault.BadRequest, "Validation error: the query and the answer of %s['question'] may have %d bytes each.", where, limits.MaxQuestion)
	case len(q.Database) > limits.MaxName || limits.HasControl(q.Database):
		return fault.Errorf(fault.BadRequest, "Validation error: %s['question']['database'] is no name of a database.", where)
	case q.Query == "" && q != Question{}:
		return fault.Errorf(fault.BadRequest, "Validation error: %s['question'] needs a 'query', and the 'answer' that is right.", where)
	}
	return nil
}

// Secret is the question as a guest takes it.
func (q Question) Secret() datastores.Question {
	return datastores.Question{Database: q.Database, Query: datastores.NewSecret(q.Query), Answer: datastores.NewSecret(q.Answer)}
}

// Begin has a drill of an instance begin. Each of also adds to the transaction, or refuses it.
func (d *Drills) Begin(ctx context.Context, c control.Caller, instance string, req Request, also ...func(etcdschema.Snapshot, etcdschema.Drill) ([]etcdschema.Op, error)) (etcdschema.Drill, error) {
	drill := etcdschema.Drill{ID: plan.NewID(), Schedule: req.Schedule, By: c.Who.UserName, Step: etcdschema.DrillRestores}
	m, err := d.Control.Instance(ctx, c, instance)
	if err != nil {
		return drill, err
	}
	question := req.Question.Secret()
	if err = req.Question.Check("drill"); err == nil && req.Sealed != nil {
		question, err = req.Sealed()
	}
	if err != nil {
		return drill, err
	}
	if !question.IsZero() && !slices.Contains(m.Capabilities, datastores.CanCheck) {
		return drill, fault.Errorf(fault.NotImplemented, "The datastore %s %s cannot be asked a question in a drill; leave it out.", m.Datastore, m.Version)
	}
	point, backup, err := d.point(ctx, c, m, req)
	if err != nil {
		return drill, err
	}
	drill.Backup, drill.Made, drill.Bytes = backup.BackupID, backup.Updated, backup.Size
	if point.Replay != nil {
		drill.Point = point.Replay.Time
	}
	create := probeOf(m, backup, point)
	create.Also = func(s etcdschema.Snapshot, probe etcdschema.Instance) ([]etcdschema.Op, error) {
		now := d.Control.Now().UTC()
		drill.Probe, drill.Begun = probe.ID, now
		ops, err := d.begun(s, m.Instance, drill, question, now)
		for _, f := range also {
			if err == nil {
				var more []etcdschema.Op
				more, err = f(s, drill)
				ops = append(ops, more...)
			}
		}
		return ops, err
	}
	_, err = d.Control.Create(ctx, c, create)
	return drill, err
}

// probeOf asks for an instance like another one, made of a backup of that.
func probeOf(m lifecycle.Member, backup etcdschema.Backup, point control.RestorePoint) control.CreateRequest {
	name := []rune(m.Name)
	req := control.CreateRequest{
		Name: "drill of " + string(name[:min(len(name), 200)]), FlavorRef: control.StringOrID(m.FlavorID), RestorePoint: &point, DrillOf: m.ID,
		Access: &control.Access{IsPublic: m.Public, AllowedCIDRs: m.AllowedCIDRs},
	}
	if m.VolumeGB > 0 {
		req.Volume = &control.VolumeRequest{Size: control.StringOrID(strconv.Itoa(m.VolumeGB)), Type: m.VolumeType}
	}
	if backup.Version == m.Version {
		req.Configuration = m.Configuration
	}
	return req
}

// point finds the backup to begin with, and the log after it.
func (d *Drills) point(ctx context.Context, c control.Caller, m lifecycle.Member, req Request) (point control.RestorePoint, backup etcdschema.Backup, err error) {
	if req.Latest && req.Time == "" {
		if req.Time, err = d.latest(ctx, c, m.ID); err != nil {
			return point, backup, err
		}
	}
	switch {
	case req.Time != "" && req.Backup != "":
		return point, backup, fault.Errorf(fault.BadRequest, "Validation error: a drill is of a backup or of a time, not of both.")
	case req.Time != "":
		point = control.RestorePoint{Instance: m.ID, Time: req.Time}
		err = d.Recovery.Resolve(ctx, c, &point)
	case req.Backup != "":
		point.BackupRef = control.LastPart(req.Backup)
	default:
		point.BackupRef, err = d.newest(ctx, c, m.Instance)
	}
	if err != nil {
		return point, backup, err
	}
	backup, err = d.Control.FindBackup(ctx, c, point.BackupRef)
	if err == nil && !backup.Of(m.Instance) {
		err = fault.Errorf(fault.BadRequest, "Backup %s is of another instance, %s.", backup.BackupID, backup.Instance)
	}
	return point, backup, err
}

// newest is the newest complete backup of an instance, or of its set.
func (d *Drills) newest(ctx context.Context, c control.Caller, of etcdschema.Instance) (string, error) {
	all, err := d.Control.Backups(ctx, etcdschema.Backups(c.Project))
	var newest etcdschema.Backup
	for _, b := range all {
		if b.Of(of) && b.Status == etcdschema.BackupCompleted && !b.Snapshot && b.Created.After(newest.Created) {
			newest = b
		}
	}
	if err == nil && newest.BackupID == "" {
		err = fault.Errorf(fault.Unprocessable, "Instance %s has no complete backup that could be restored: make one first.", of.ID)
	}
	return newest.BackupID, err
}

// latest is up to when the log of an instance was shipped.
func (d *Drills) latest(ctx context.Context, c control.Caller, instance string) (string, error) {
	found, err := d.Recovery.Of(ctx, c, instance)
	if err != nil {
		return "", err
	}
	if len(found.Windows) == 0 {
		return "", fault.Errorf(fault.Unprocessable, "Instance %s has no shipped log with a backup before it: turn point in time recovery on, or leave 'latest' out.", instance)
	}
	return found.Windows[len(found.Windows)-1].Until.Format(time.RFC3339Nano), nil
}

// begun writes that a drill is under way; one at a time is of an instance.
func (d *Drills) begun(s etcdschema.Snapshot, of etcdschema.Instance, drill etcdschema.Drill, q datastores.Question, now time.Time) ([]etcdschema.Op, error) {
	source, err := etcdschema.Read(s, etcdschema.InstanceKey(of.Project, of.ID))
	in, err := fault.Found(source, err, "Instance", of.ID)
	if err == nil {
		err = plan.NoDrill(in)
	}
	if err != nil {
		return nil, err
	}
	key := etcdschema.DrillsKey(of.Project, of.ID)
	rec, err := etcdschema.Read(s, key)
	if err != nil {
		return nil, err
	}
	all := rec.Value
	if all.Now != nil {
		return nil, fault.Errorf(fault.Unprocessable, "A drill of instance %s is under way since %s; wait until it is over.", of.ID, control.Stamp(all.Now.Begun))
	}
	all.Project, all.Instance, all.Now = of.Project, of.ID, &drill
	if all.Question, err = plan.SealQuestion(d.Control.Keys, key.String(), q); err != nil {
		return nil, err
	}
	ops := plan.Tell(&in, etcdschema.Event{At: now, Kind: "note", Message: fmt.Sprintf("a drill begins: backup %s is restored into instance %s", drill.Backup, drill.Probe)})
	return slices.Concat(ops, []etcdschema.Op{etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in)}, plan.PutDrills(all, now.Add(lookFirst), now)), nil
}

// Of reads the drills of an instance.
func (d *Drills) Of(ctx context.Context, c control.Caller, instance string) (etcdschema.Drills, error) {
	rec, err := etcdschema.Get(ctx, d.Control.Store, etcdschema.DrillsKey(c.Project, instance))
	if fault.IsNotFound(err) {
		_, err = d.Control.Instance(ctx, c, instance) // that there was none is no error
	}
	return rec.Value, err
}
