package postgresql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// target is where a recovery ends. It is kept in the guest's directory from a restore until the server has come there.
type target struct {
	Time     time.Time `json:"time,omitzero"`
	Position string    `json:"position,omitempty"`
	// All: the log has nothing that is later than Time, so all of it is replayed.
	All bool `json:"all,omitempty"`
}

const targetName = "recovery-target.json"

// addTarget adds where the recovery ends.
func (m *Manager) addTarget(settings map[string]string) error {
	var t target
	err := m.own.LoadJSON(targetName, &t)
	switch {
	case err != nil || t.All:
	case !t.Time.IsZero():
		settings["recovery_target_time"] = t.Time.UTC().Format("2006-01-02 15:04:05.999999") + "+00"
	case t.Position != "":
		settings["recovery_target_lsn"] = t.Position
		settings["recovery_target_inclusive"] = "off"
	}
	if t != (target{}) {
		settings["recovery_target_action"] = "promote"
	}
	return err
}

// beyondLog says why a server did not start whose log ends before its recovery was to end. When it was to end at a time, that is as it should be: nothing was
// committed any more, and the next try replays all.
func (m *Manager) beyondLog(failure error) error {
	var t target
	var words *startError
	if err := m.own.LoadJSON(targetName, &t); err != nil || t == (target{}) || !errors.As(failure, &words) {
		return errors.Join(failure, err)
	}
	switch said := words.LastWords(); {
	case strings.Contains(said, "before consistent recovery point"):
		return datastores.Errorf(datastores.Invalid, "the backup is later than what it is to be brought to")
	case !strings.Contains(said, "recovery ended before configured recovery target was reached"):
		return failure
	case t.Position != "":
		return datastores.Errorf(datastores.Invalid, "the log that was shipped does not come to the position %s", t.Position)
	}
	t.All = true
	if err := m.own.SaveJSON(targetName, t); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}

// replay puts the log where the server finds it that is made, and says up to where; nil: nothing but what the backup has is replayed.
func (m *Manager) replay(ctx context.Context, replay *datastores.LogReplay, made *volume.Tree) error {
	if replay == nil {
		return m.own.Remove(targetName)
	}
	t := target{Time: replay.Time}
	if replay.Position != "" {
		position, err := parseLSN(replay.Position)
		if err != nil {
			return datastores.Errorf(datastores.Invalid, "%v: it is like 0/16B3748", err)
		}
		t.Position = position.String()
	}
	log, err := made.In("pg_wal")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	w, err := newLogWriter(log)
	if err != nil {
		return err
	}
	for {
		part, err := replay.Next(ctx)
		if errors.Is(err, io.EOF) {
			t.All = t.Position == w.next.String()
			return m.own.SaveJSON(targetName, t)
		}
		if err == nil {
			err = w.write(ctx, part)
		}
		if err != nil {
			return err
		}
	}
}

// logWriter writes parts of a log over the segments that a backup has brought.
type logWriter struct {
	log      *volume.Tree
	timeline int
	size     lsn
	next     lsn // where the next part has to begin; 0: it is the first
}

// newLogWriter finds the timeline and the size in what is there.
func newLogWriter(log *volume.Tree) (*logWriter, error) {
	files, err := log.List(".")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.Mode().IsRegular() && len(f.Name()) == 24 {
			timeline, err := strconv.ParseInt(f.Name()[:8], 16, 32)
			return &logWriter{log: log, timeline: int(timeline), size: lsn(info.Size())}, err
		}
	}
	return nil, errors.New("the backup has no segment of the log")
}

func (w *logWriter) write(ctx context.Context, part datastores.LogPart) error {
	at, err := parseLSN(part.After)
	if err != nil {
		return err
	}
	to, err := parseLSN(part.To)
	if err != nil || to-at != lsn(len(part.Data)) || w.next != 0 && at != w.next {
		return fmt.Errorf("the log from %s to %s does not go on where the part before it ends, at %s", part.After, part.To, w.next)
	}
	for data := part.Data; len(data) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(lsn(len(data)), w.size-at%w.size)
		if err := w.writeSegment(at, data[:n]); err != nil {
			return err
		}
		data, at = data[n:], at+n
	}
	w.next = to
	return nil
}

// writeSegment writes into one segment, which is made when it is not there. What lies behind is zero: there the replay ends.
func (w *logWriter) writeSegment(at lsn, data []byte) (err error) {
	name := segmentName(w.timeline, at/w.size, w.size)
	f, err := w.log.OpenFile(name, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = w.log.Create(name); err == nil {
			err = f.Truncate(int64(w.size))
		}
	}
	if f != nil {
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	if err == nil {
		_, err = f.WriteAt(data, int64(at%w.size))
	}
	return err
}
