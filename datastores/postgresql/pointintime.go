package postgresql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// The log that is shipped is read from where the server has it, as that of an incremental backup is. A slot that nobody streams from
// keeps it there until it is shipped, and max_slot_wal_keep_size says how much of it at most; then the server invalidates the slot and
// goes on. No command of a shell is in the server's settings, and no file is there twice.

const (
	logSlot = "coffer_log"
	// shippedName is, in the guest's directory, the history of which the log is shipped.
	shippedName = "shipped-log.json"
	// unsure is how long before now everything is taken for flushed, when the log as a whole is not.
	unsure = time.Second
)

// logState is the log of a server that takes writes, at one moment.
type logState struct {
	history
	at          time.Time
	flushed     lsn
	whole       bool // nothing was written that is not flushed
	size        lsn  // of a segment
	keeps       int64
	restart     value // where the slot begins; nil: there is none, or it keeps nothing
	invalidated bool
}

// logNow asks for it: for the time first, so that what was committed before it is in the log.
func (s *session) logNow(ctx context.Context) (l logState, err error) {
	rows, err := s.query(ctx, `WITH t AS MATERIALIZED (SELECT clock_timestamp() AS at),
		i AS MATERIALIZED (SELECT at, CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn() END AS inserted FROM t),
		f AS MATERIALIZED (SELECT at, inserted, CASE WHEN inserted IS NOT NULL THEN pg_current_wal_flush_lsn() END AS flushed FROM i)
		SELECT (extract(epoch FROM at) * 1000000)::bigint, flushed::text, flushed >= inserted, CASE WHEN inserted IS NOT NULL THEN pg_walfile_name(flushed) END,
			(SELECT system_identifier FROM pg_control_system()), (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'),
			(SELECT setting::bigint << 20 FROM pg_settings WHERE name = 'max_slot_wal_keep_size'), r.restart_lsn::text, r.wal_status = 'lost'
		FROM f LEFT JOIN pg_replication_slots r ON r.slot_name = $1`, logSlot)
	if err != nil || len(rows) != 1 {
		return l, failed(err, "cannot ask for the end of the log")
	}
	row := rows[0]
	if row[3] == nil {
		return l, datastores.Errorf(datastores.Unavailable, "the server takes no writes: it follows another one, or will")
	}
	timeline, err := strconv.ParseInt(row[3].String()[:8], 16, 32)
	if err != nil {
		return l, err
	}
	l = logState{
		history: history{SystemID: row[4].String(), Timeline: int(timeline)}, at: time.UnixMicro(row[0].int()).UTC(), whole: row[2].bool(),
		size: lsn(row[5].int()), keeps: row[6].int(), restart: row[7], invalidated: row[8].bool(),
	}
	l.flushed, err = parseLSN(row[1].String())
	return l, err
}

// KeepLog implements [datastores.PointInTime].
func (m *Manager) KeepLog(ctx context.Context, from string) (position string, err error) {
	err = m.with(ctx, func(s *session) error {
		now, err := s.logNow(ctx)
		if err != nil {
			return err
		}
		if from == "" {
			if err := m.own.SaveJSON(shippedName, now.history); err != nil {
				return err
			}
			position = now.flushed.String()
		} else if position, err = from, m.sameLog(now); err != nil {
			return err
		}
		if err := keepLogFor(ctx, s, logSlot); err != nil {
			return failed(err, "cannot keep the log")
		}
		_, err = s.query(ctx, `SELECT pg_replication_slot_advance(slot_name, $2::pg_lsn) FROM pg_replication_slots
			WHERE slot_name = $1 AND restart_lsn < $2::pg_lsn AND NOT active`, logSlot, position)
		return failed(err, "cannot let go of the log")
	})
	return position, err
}

// sameLog returns a Conflict when the log is not that of which the shipping has begun.
func (m *Manager) sameLog(now logState) error {
	var was history
	if err := m.own.LoadJSON(shippedName, &was); err != nil {
		return err
	}
	if was != now.history {
		return datastores.Errorf(datastores.Conflict, "the server has begun another history: by a promotion, a restore or an upgrade")
	}
	return nil
}

// ReadLog implements [datastores.PointInTime].
func (m *Manager) ReadLog(ctx context.Context, req datastores.LogRequest) (reply datastores.LogReply, err error) {
	after, err := parseLSN(req.After)
	if err != nil {
		return reply, err
	}
	var now logState
	if err := m.with(ctx, func(s *session) (err error) { now, err = s.logNow(ctx); return err }); err != nil {
		return reply, err
	}
	if err := m.sameLog(now); err != nil {
		return reply, err
	}
	if now.flushed < after {
		return reply, datastores.Errorf(datastores.Conflict, "the server's log ends before what was shipped of it")
	}
	to := min(now.flushed, after+lsn(req.Most))
	if req.To != "" {
		if to, err = parseLSN(req.To); err != nil {
			return reply, err
		}
	}
	reply = datastores.LogReply{To: to.String(), Kept: int64(now.flushed - after), Keeps: now.keeps}
	if to == now.flushed {
		if reply.At = now.at; !now.whole {
			reply.At = now.at.Add(-unsure)
		}
	}
	return reply, m.copyLog(ctx, req.Output, logRange{timeline: now.Timeline, from: after, to: to, since: "the last part was shipped"}, now.size)
}

// copyLog writes the bytes of a part of the log.
func (m *Manager) copyLog(ctx context.Context, w io.Writer, r logRange, size lsn) error {
	return m.inLog(func(log *volume.Tree) error {
		for at := r.from; at < r.to; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(r.to, (at/size+1)*size) - at
			if err := r.copySegment(log, w, at, n, size); err != nil {
				return err
			}
			at += n
		}
		return nil
	})
}

// copySegment writes n bytes of one segment of the log.
func (r logRange) copySegment(log *volume.Tree, w io.Writer, at, n, size lsn) error {
	name := segmentName(r.timeline, at/size, size)
	f, err := log.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return r.gone()
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := io.Copy(w, io.NewSectionReader(f, int64(at%size), int64(n))); err != nil {
		return fmt.Errorf("cannot read the log: %w", err)
	}
	return r.still(log, name, f)
}

// DropLog implements [datastores.PointInTime].
func (m *Manager) DropLog(ctx context.Context) error {
	err := m.with(ctx, func(s *session) error { return failed(dropSlot(ctx, s, logSlot), "cannot let go of the log") })
	if err == nil {
		err = m.own.Remove(shippedName)
	}
	return err
}
