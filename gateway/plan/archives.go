package plan

import (
	"crypto/hkdf"
	"crypto/sha256"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// ArchiveDue has an archive be due at a time, zero for never, and remember that.
func ArchiveDue(a *etcdschema.Archive, at, now time.Time) (ops []etcdschema.Op) {
	a.Due, ops = MoveDue(DueArchive, a.Project, a.Instance, a.Due, at, now)
	return ops
}

// PutArchive writes an archive that is due at a time.
func PutArchive(a etcdschema.Archive, at, now time.Time) []etcdschema.Op {
	return append(ArchiveDue(&a, at, now), etcdschema.Put(etcdschema.ArchiveKey(a.Project, a.Instance), a))
}

// windowKey is the key of one window of a log: a guest keeps it on its disk, where the project's own key would be too much.
func windowKey(project []byte, window string) (datastores.Secret, error) {
	raw, err := hkdf.Key(sha256.New, project, nil, "coffer log v1 "+window, sha256.Size)
	return secretKey(raw), err
}

// JoinArchive has the log of an instance that is made with an RPO be shipped when it is ready.
func JoinArchive(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	if in.RPO == 0 {
		return nil, nil
	}
	return OpenArchive(s, in, in.Created)
}

// OpenArchive has the log of an instance be shipped, in a window of its own unless one is open.
func OpenArchive(s etcdschema.Snapshot, in etcdschema.Instance, now time.Time) ([]etcdschema.Op, error) {
	rec, err := etcdschema.Read(s, etcdschema.ArchiveKey(in.Project, in.ID))
	a := rec.Value
	a.Project, a.Instance, a.RPO, a.Asked = in.Project, in.ID, in.RPO, time.Time{}
	if a.Open() == nil {
		addWindow(&a)
	}
	return PutArchive(a, now, now), err
}

func addWindow(a *etcdschema.Archive) {
	a.Windows = append(a.Windows, etcdschema.LogWindow{ID: NewID(), First: 1})
	a.Asked, a.Base, a.Tries = time.Time{}, "", 0
}

// CloseArchive ends the shipping of an instance's log, for a reason. What there is stays as long as a backup needs it.
func CloseArchive(s etcdschema.Snapshot, project, instance, reason string, now time.Time) ([]etcdschema.Op, error) {
	rec, err := etcdschema.Read(s, etcdschema.ArchiveKey(project, instance))
	if err != nil || !rec.Found {
		return nil, err
	}
	a := rec.Value
	ops, err := closeWindow(s, &a, reason)
	a.RPO, a.Asked = 0, time.Time{}
	return append(ops, PutArchive(a, now, now)...), err
}

// WakeArchive has what is kept of an instance's log be looked at anew.
func WakeArchive(s etcdschema.Snapshot, project, instance string, now time.Time) ([]etcdschema.Op, error) {
	return wake(s, etcdschema.ArchiveKey(project, instance), PutArchive, now)
}

// closeWindow ends the open window, if there is one, and gives back what its project was charged for and was not needed.
func closeWindow(s etcdschema.Snapshot, a *etcdschema.Archive, reason string) ([]etcdschema.Op, error) {
	w := a.Open()
	if w == nil {
		return nil, nil
	}
	w.Closed = reason
	return ChargeWindow(s, a.Project, w, w.Bytes-w.Freed)
}

// ChargeWindow charges a project for so many bytes of a window, whatever its quota: for less than before.
func ChargeWindow(s etcdschema.Snapshot, project string, w *etcdschema.LogWindow, held int64) ([]etcdschema.Op, error) {
	if held = max(0, held); held == w.Held {
		return nil, nil
	}
	key := etcdschema.UsageKey(project)
	usage, err := etcdschema.Read(s, key)
	usage.Value.BackupBytes = max(0, usage.Value.BackupBytes+held-w.Held)
	w.Held = held
	return []etcdschema.Op{etcdschema.Put(key, usage.Value)}, err
}

// askAgain is how long an archive waits for a guest that was asked to ship.
const askAgain = 30 * time.Second

// Shipped takes what the guest of an instance whose server is healthy says of the log that it ships; nil: it ships none.
func Shipped(s etcdschema.Snapshot, in etcdschema.Instance, said *datastores.Shipped, now time.Time) ([]etcdschema.Op, error) {
	rec, err := etcdschema.Read(s, etcdschema.ArchiveKey(in.Project, in.ID))
	if err != nil || !rec.Found {
		return nil, err
	}
	a := rec.Value
	w := a.Open()
	switch {
	case w == nil && said == nil, w != nil && w.From.IsZero() && (said == nil || said.Window == w.ID && said.From.IsZero()):
		return nil, nil // as it should be, or it was asked
	case w == nil, said != nil && said.Window != w.ID: // it is asked anew
		if !a.Due.IsZero() {
			return nil, nil
		}
		at := a.Asked.Add(askAgain)
		if at.Before(now) {
			at = now
		}
		return PutArchive(a, at, now), nil
	case said == nil:
		return reopen(s, a, "its guest has begun anew", now)
	case said.Gone != "":
		enter(w, *said, now)
		return reopen(s, a, said.Gone, now)
	}
	was, begins := *w, w.From.IsZero()
	if enter(w, *said, now); *w == was {
		return nil, nil
	}
	due := a.Due
	if begins {
		due = now
	}
	return PutArchive(a, due, now), nil
}

// enter writes down how far a window has come. A guest's word counts up to what its segments can have.
func enter(w *etcdschema.LogWindow, said datastores.Shipped, now time.Time) {
	w.Stuck = said.Stuck
	if said.Segments < w.Last || said.Segments == w.Last && !said.Until.After(w.Until) {
		return
	}
	w.Last, w.Bytes = said.Segments, max(w.Bytes, min(said.Bytes, w.Bytes+(said.Segments-w.Last)*SegmentSize))
	w.Told, w.Behind = now.UTC(), max(said.Behind, 0)
	w.From, w.Start, w.Until, w.Position = said.From, short(said.Start), said.Until, short(said.Position)
}

func short(position string) string { return position[:min(len(position), datastores.MaxPosition)] }

// reopen begins another window: the log has a gap. A window that ends as soon as it was begun is not followed by the next at once.
func reopen(s etcdschema.Snapshot, a etcdschema.Archive, reason string, now time.Time) ([]etcdschema.Op, error) {
	w, at := a.Open(), now
	if !w.From.IsZero() && now.Sub(w.From) < askAgain {
		at = now.Add(askAgain)
	}
	if w.From.IsZero() { // it never began: there is nothing to keep, nor to tell
		w.ID, a.Asked = NewID(), now
		return PutArchive(a, now.Add(askAgain), now), nil
	}
	ops, err := closeWindow(s, &a, reason)
	addWindow(&a)
	return append(ops, PutArchive(a, at, now)...), err
}

// AskToShip asks a guest to ship for the window that is open, or to end it.
func AskToShip(s etcdschema.Snapshot, keys *keyring.Keyring, signer Signer, a *etcdschema.Archive, now time.Time) (ops []etcdschema.Op, err error) {
	method, _ := datastores.LookupMethod(datastores.MethodShipLog)
	var args datastores.ShipArgs
	if w := a.Open(); w != nil {
		var raw []byte
		if raw, ops, err = streamKey(keys, s, a.Project); err != nil {
			return nil, err
		}
		args = datastores.ShipArgs{Window: w.ID, RPO: a.RPO}
		if args.Key, err = windowKey(raw, w.ID); err != nil {
			return nil, err
		}
	}
	cmd := etcdschema.Command{
		Command: agentpoll.Command{ID: NewID(), Method: method.Name, Deadline: now.Add(method.Timeout)},
		Project: a.Project, Instance: a.Instance, Enqueued: now,
	}
	if err := FillArgs(s, &cmd, a.Instance, args, method.Secret); err != nil {
		return nil, err
	}
	a.Asked = now
	return append(ops, signer.Command(a.Instance, cmd)), nil
}
