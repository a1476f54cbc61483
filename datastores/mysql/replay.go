package mysql

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// A log is replayed by the server's own programs: mariadb-binlog makes SQL of events, and the client brings that to a server that takes no
// writes of anybody else yet. Which events it is given the guest says: those of transactions that the backup does not have, up to the last
// one that is wanted. Nothing of it is laid down on the volume.

// gtidEvent is the type of the event with which each transaction begins, gtidListEvent of the one that says what was before the file:
// mariadb-binlog takes one that comes later than the first transaction for a gap.
const (
	gtidEvent     = 162
	gtidListEvent = 163
)

// selection lets those events pass that are wanted. It knows no more of them than where a transaction begins.
type selection struct {
	out io.Writer

	has      gtids     // the transactions that the backup has, and those before them
	time     time.Time // zero: no limit
	last     *gtid     // the last transaction that is wanted; nil: no limit
	until    *place    // nil: no limit
	reached  bool      // last was there
	at       place     // where the next byte comes from
	begun    bool      // the first bytes were written
	skipping bool      // the transaction that is read is not wanted
	dropping bool      // nor the event
	left     uint32    // bytes of the event that is read
	rest     []byte    // of a header that is cut off
}

// errEnough is the error of a selection that has all that is wanted.
var errEnough = errors.New("the log is replayed as far as it is wanted")

// part takes the next part of the log.
func (s *selection) part(part datastores.LogPart) error {
	after, err := parsePlace(part.After)
	if err != nil {
		return err
	}
	to, err := parsePlace(part.To)
	if err != nil {
		return err
	}
	data, from := part.Data, after
	if to.file != after.file {
		from = place{to.file, 0}
	}
	if s.at.file != "" && s.at != after {
		return fmt.Errorf("the log from %s to %s does not go on where the part before it ends, at %s", after, to, s.at)
	}
	head, err := wholeHead(data, to.file)
	switch {
	case from.offset > 0 && err == nil && s.at.file == "": // the first part begins within a file
		if _, err := s.out.Write(head); err != nil {
			return err
		}
		s.begun, data = true, data[len(head):]
	case from.offset > 0 && err == nil:
		data = data[len(head):]
	case err != nil:
		return err
	case s.begun:
		data, from.offset = data[4:], 4
	default:
		if _, err := s.out.Write(data[:4]); err != nil {
			return err
		}
		s.begun, data, from.offset = true, data[4:], 4
	}
	if from.offset+int64(len(data)) != to.offset {
		return fmt.Errorf("the log from %s to %s has %d bytes", after, to, len(data))
	}
	s.at = from
	return s.events(data)
}

// events goes through bytes that follow each other.
func (s *selection) events(data []byte) error {
	for len(data) > 0 {
		if s.left == 0 {
			header := append(s.rest, data[:min(len(data), gtidHeader-len(s.rest))]...)
			if need := headerOf(header); len(header) < need {
				s.at.offset += int64(len(data))
				s.rest = header
				return nil
			}
			begins := s.at
			begins.offset -= int64(len(s.rest))
			if err := s.event(header, begins); err != nil {
				return err
			}
			if err := s.write(s.rest); err != nil { // it was kept back
				return err
			}
			s.left -= uint32(len(s.rest))
			s.rest = nil
		}
		n := min(len(data), int(s.left))
		if err := s.write(data[:n]); err != nil {
			return err
		}
		data, s.left, s.at.offset = data[n:], s.left-uint32(n), s.at.offset+int64(n)
	}
	return nil
}

// gtidHeader is how much of an event has to be seen: its header, and of one that begins a transaction which it is.
const gtidHeader = eventHeader + 8 + 4

// headerOf is how much of an event has to be seen of which so much is seen.
func headerOf(b []byte) int {
	if len(b) < eventHeader || b[4] == gtidEvent {
		if len(b) >= eventHeader {
			return gtidHeader
		}
		return eventHeader
	}
	return eventHeader
}

// event decides over an event that begins.
func (s *selection) event(header []byte, begins place) error {
	if s.until != nil && (begins.file == s.until.file && begins.offset >= s.until.offset || begins.file > s.until.file) {
		return errEnough
	}
	if s.left = binary.LittleEndian.Uint32(header[eventLengthAt:]); s.left < eventHeader {
		return fmt.Errorf("the event at %s has %d bytes", begins, s.left)
	}
	if s.dropping = header[4] == gtidListEvent; header[4] != gtidEvent {
		return nil
	}
	if s.reached {
		return errEnough
	}
	when := time.Unix(int64(binary.LittleEndian.Uint32(header)), 0)
	if !s.time.IsZero() && when.After(s.time) {
		return errEnough
	}
	is := gtid{
		server: binary.LittleEndian.Uint32(header[5:]), seq: binary.LittleEndian.Uint64(header[eventHeader:]),
		domain: binary.LittleEndian.Uint32(header[eventHeader+8:]),
	}
	had, known := s.has.last(is.domain)
	s.skipping = known && is.seq <= had.seq
	s.reached = s.last != nil && is == *s.last
	return nil
}

func (s *selection) write(b []byte) error {
	if s.skipping || s.dropping || len(b) == 0 {
		return nil
	}
	_, err := s.out.Write(b)
	return err
}

// selectionOf reads what is wanted.
func selectionOf(req datastores.RestoreRequest, out io.Writer) (*selection, error) {
	s := &selection{out: out, time: req.Log.Time}
	newest := req.Chain[len(req.Chain)-1]
	var meta backupMeta
	if err := json.Unmarshal(newest.Meta, &meta); err != nil {
		return nil, datastores.Errorf(datastores.Invalid, "backup %s does not say where it ends", newest.ID)
	}
	var err error
	if s.has, err = parseGTIDs(meta.GTID); err != nil {
		return nil, err
	}
	position := req.Log.Position
	if position == "" {
		return s, nil
	}
	if !strings.Contains(position, ":") {
		wanted, err := parseGTIDs(position)
		if err != nil || len(wanted) != 1 {
			return nil, datastores.Errorf(datastores.Invalid, "%q is no position: it is like binlog.000012:4711, or a GTID such as 0-1-99", position)
		}
		s.last = &wanted[0]
		if had, known := s.has.last(s.last.domain); known && s.last.seq < had.seq {
			return nil, datastores.Errorf(datastores.Invalid, "the backup is later than the transaction %s", position)
		} else if known && s.last.seq == had.seq {
			s.reached = true
		}
		return s, nil
	}
	until, err := parsePlace(position)
	s.until = &until
	return s, err
}

// came returns an error when what is wanted was not in the log.
func (s *selection) came() error {
	if s.last != nil && !s.reached || s.until != nil && (s.at.file < s.until.file || s.at.file == s.until.file && s.at.offset < s.until.offset) {
		return datastores.Errorf(datastores.Invalid, "the log that was shipped does not come to that position")
	}
	return nil
}

// replay brings the log to a server that runs, takes no writes and has the data of the backup.
func (m *Manager) replay(ctx context.Context, req datastores.RestoreRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, toEvents := io.Pipe()
	statements, toStatements := io.Pipe()
	wanted, err := selectionOf(req, toEvents)
	if err != nil {
		return err
	}
	failures := make(chan error, 2)
	go func() {
		err := wanted.all(ctx, req.Log)
		_ = toEvents.CloseWithError(err) // nil: it is at its end
		failures <- err
	}()
	go func() {
		err := m.runTool(ctx, []string{m.tool("mariadb-binlog"), "--no-defaults", "-"}, events, toStatements)
		_ = events.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		_ = toStatements.CloseWithError(err)
		failures <- err
	}()
	err = m.withLogin(ctx, func(login string, _ func()) error {
		return m.runTool(ctx, []string{
			m.tool(m.variant.client), login, "--batch", "--binary-mode", "--max-allowed-packet=1G",
			"--init-command=SET innodb_strict_mode = 0" + m.variant.loading,
		}, statements, nil)
	})
	_ = statements.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if err != nil {
		cancel()
	}
	for range 2 {
		if e := <-failures; e != nil && (err == nil || datastores.Told(e).Kind == datastores.Invalid) {
			err = e
		}
	}
	if err != nil {
		return fmt.Errorf("cannot replay the log: %w", err)
	}
	return m.turn(ctx, func(db *sql.DB) error { return m.takeWrites(ctx, db) })
}

// all takes all parts of a log that are wanted.
func (s *selection) all(ctx context.Context, log *datastores.LogReplay) error {
	for {
		part, err := log.Next(ctx)
		if errors.Is(err, io.EOF) {
			return s.came()
		}
		if err == nil {
			err = s.part(part)
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
