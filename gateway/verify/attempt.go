package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

var (
	// errNotMine: another attempt goes on, or nobody waits for this one any more.
	errNotMine = errors.New("the verification is not this attempt's any more")
	errTooSlow = errors.New("the store gives less than 1 MiB a second")
)

// attempt is one reading of a backup.
type attempt struct {
	*Verifier
	id    string
	chain []etcdschema.Backup // the full one first
	key   []byte
	began time.Time
	done  atomic.Int64 // bytes as stored
	total int64
}

// happen verifies a backup, unless another attempt does.
func (v *Verifier) happen(ctx context.Context, item due.Item) error {
	t, err := v.claim(ctx, item)
	if t == nil || err != nil {
		return err
	}
	reading, end := context.WithCancelCause(ctx)
	defer end(nil)
	within := least + time.Duration(t.total/slowest)*time.Second
	timer := time.AfterFunc(min(within, longest-least), func() { end(errTooSlow) })
	defer timer.Stop()
	var beside sync.WaitGroup
	saying, stop := context.WithCancel(ctx)
	beside.Go(func() { t.say(saying, item, end) })
	err = t.read(reading)
	stop()
	beside.Wait()
	switch cause := context.Cause(reading); {
	case ctx.Err() != nil, errors.Is(cause, errNotMine):
		return nil // this gateway ends, and another begins again; or nobody asks for it any more
	case errors.Is(cause, errTooSlow):
		err = segments.Unreadable{Err: cause}
	}
	return t.finish(ctx, item, err)
}

// claim begins an attempt; nil: there is nothing to be done now.
func (v *Verifier) claim(ctx context.Context, item due.Item) (t *attempt, err error) {
	cp := v.Control
	now := cp.Now().UTC()
	key := etcdschema.BackupKey(item.Project, item.ID)
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		t = nil
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		b := rec.Value
		if !rec.Found || b.Deleting || b.Verification == nil || !b.Verification.Due.Equal(item.At) {
			return item.Drop(s, plan.DueVerify)
		}
		is := b.Verification
		if now.Before(is.Until) {
			ops := plan.DueVerification(&b, is.Until, now)
			return append(ops, etcdschema.Put(key, b)), nil
		}
		t = &attempt{Verifier: v, id: plan.NewID(), began: now}
		if t.chain, err = chain(s, b); err != nil {
			return nil, err
		}
		for _, part := range b.Parts { // which are full ones
			rec, err := etcdschema.Read(s, etcdschema.BackupKey(b.Project, part.ID))
			if err != nil {
				return nil, err
			}
			t.chain = append(t.chain, rec.Value)
		}
		for _, link := range t.chain {
			t.total += link.Stored
		}
		if t.key, err = plan.StreamKey(cp.Keys, s, b.Project); err != nil {
			return nil, err
		}
		is.Attempt, is.Until, is.Done, is.Total = t.id, now.Add(lease), 0, t.total
		ops := plan.DueVerification(&b, is.Until, now)
		return append(ops, etcdschema.Put(key, b)), nil
	})
	return t, err
}

// chain reads a backup and all that it builds on, the full one first. It ends at a backup that is gone.
func chain(s etcdschema.Snapshot, b etcdschema.Backup) (links []etcdschema.Backup, err error) {
	for {
		links = append([]etcdschema.Backup{b}, links...)
		if b.Parent == "" {
			return links, nil
		}
		rec, err := etcdschema.Read(s, etcdschema.BackupKey(b.Project, b.Parent))
		if err != nil || !rec.Found || rec.Value.Deleting {
			return links, err
		}
		b = rec.Value
	}
}

// say says again and again that the attempt goes on, and ends it when it is nobody's business any more.
func (t *attempt) say(ctx context.Context, item due.Item, end context.CancelCauseFunc) {
	ticker := time.NewTicker(sayAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := t.mine(ctx, item, func(_ etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
			b.Verification.Done, b.Verification.Until = t.done.Load(), t.Control.Now().UTC().Add(lease)
			return nil, nil
		})
		if errors.Is(err, errNotMine) {
			end(err)
			return
		}
	}
}

// mine decides over the backup, as long as this attempt is the one that counts.
func (t *attempt) mine(ctx context.Context, item due.Item, decide func(etcdschema.Snapshot, *etcdschema.Backup) ([]etcdschema.Op, error)) error {
	within, cancel := context.WithTimeout(ctx, lease)
	defer cancel()
	err := t.Control.ChangeBackup(within, item.Project, item.ID, func(s etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
		if b.Verification == nil || b.Verification.Attempt != t.id {
			return nil, errNotMine
		}
		return decide(s, b)
	})
	if fault.IsNotFound(err) {
		return errNotMine
	}
	return err
}

// finish writes what has come of the attempt. A store that could not be read is tried again, a few times.
func (t *attempt) finish(ctx context.Context, item due.Item, found error) error {
	now := t.Control.Now().UTC()
	result := etcdschema.Verified{At: now, Result: etcdschema.VerifiedIntact, Bytes: t.done.Load(), Seconds: now.Sub(t.began).Seconds()}
	var failed segments.Unreadable
	switch {
	case errors.As(found, &failed):
		t.Control.Log.Error("a backup could not be verified", "project", item.Project, "backup_id", item.ID, "err", found)
		result.Result, result.Reason = etcdschema.VerifiedUnreadable, "The store could not be read. The operator finds the reason in the gateway's log."
	case found != nil:
		t.Control.Log.Error("a backup is damaged", "project", item.Project, "backup_id", item.ID, "err", found)
		result.Result, result.Reason = etcdschema.VerifiedDamaged, found.Error()
	}
	counts := true
	err := t.mine(ctx, item, func(s etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
		is := b.Verification
		counts = true
		if is.Tries+1 < tries && result.Result == etcdschema.VerifiedUnreadable {
			counts = false
			is.Tries++
			is.Attempt, is.Done, is.Until = "", 0, now.Add(tryAgain<<(is.Tries-1))
			return plan.DueVerification(b, is.Until, now), nil
		}
		is.Last = &result
		told, err := tell(s, *b, now)
		return append(t.ended(b), told...), err
	})
	switch {
	case errors.Is(err, errNotMine):
		return nil
	case err == nil && counts:
		t.counter(result.Result).Add(1)
	}
	return err
}

// tell adds a line to the timeline of the backup's instance, when there still is one.
func tell(s etcdschema.Snapshot, b etcdschema.Backup, now time.Time) ([]etcdschema.Op, error) {
	if b.Import != nil { // of an instance that was never here
		return nil, nil
	}
	key := etcdschema.InstanceKey(b.Project, b.Instance)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return nil, err
	}
	last := b.Verification.Last
	event := etcdschema.Event{At: now, Kind: "note", Message: fmt.Sprintf("backup %s (%s) was verified where it lies: %s", b.Name, b.BackupID, last.Result)}
	if last.Result != etcdschema.VerifiedIntact {
		event.Kind, event.Message = "fault", event.Message+": "+last.Reason
	}
	ops := plan.Tell(&rec.Value, event)
	return append(ops, etcdschema.Put(key, rec.Value)), nil
}
