package mysql

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// The log of MariaDB is its binary log, read from its files. A position is a file and an offset in it, as SHOW MASTER STATUS has it:
// binlog.000012:4711. What was not shipped stays there as long as all logs take no more than their share of the volume, see binlogShare.
//
// A part of the log is of one file: from (A, a) to (A, b), or from the end of A to (B, b), which is B from its beginning. A part that begins
// within a file has the file's head before it, without which nothing of it can be read.

// place is a position in the binary log.
type place struct {
	file   string
	offset int64
}

func parsePlace(text string) (p place, err error) {
	file, offset, found := strings.Cut(text, ":")
	p.file = file
	if found {
		p.offset, err = strconv.ParseInt(offset, 10, 64)
	}
	if !found || err != nil || p.offset < 0 || !binlogName.MatchString(file) {
		return place{}, datastores.Errorf(datastores.Invalid, "%q is no position: it is like binlog.000012:4711, or a GTID such as 0-1-99", text)
	}
	return p, nil
}

func (p place) String() string { return p.file + ":" + strconv.FormatInt(p.offset, 10) }

// shippedName is, in the guest's directory, the log that is shipped.
const shippedName = "shipped-log.json"

// shippedLog is what tells the log that is shipped from another one of the same names.
type shippedLog struct {
	Version string `json:"version"` // of the server
	File    string `json:"file"`
	Made    uint32 `json:"made"` // when the file was begun, by its first event
}

// logAt is what the server says of its binary log.
type logAt struct {
	place
	at time.Time // before it was asked
}

// logEnd asks where the log ends. A replica's is not shipped: it has what its source does, too.
func (m *Manager) logEnd(ctx context.Context) (now logAt, err error) {
	now.at = time.Now().UTC()
	err = m.session(func(db *sql.DB) error {
		readOnly, err := isReadOnly(ctx, db)
		if err != nil {
			return err
		}
		if readOnly {
			return datastores.Errorf(datastores.Unavailable, "the server takes no writes: it follows another one, or will")
		}
		rows, err := allRows(ctx, db, "SHOW MASTER STATUS")
		if err != nil || len(rows) != 1 {
			return failed(errors.Join(err, errors.New("one row is wanted")), "cannot ask for the end of the binary log")
		}
		now.place, err = parsePlace(rows[0]["File"] + ":" + rows[0]["Position"])
		return err
	})
	return now, err
}

// inLog opens the data directory and reads which logs there are.
func (m *Manager) inLog(do func(data *volume.Tree, logs []binlog) error) error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	logs, err := readBinlogs(tree)
	if err != nil {
		return err
	}
	data, err := tree.In(dataDir)
	if err != nil {
		return err
	}
	defer func() { _ = data.Close() }()
	return do(data, logs)
}

var errLogGone = datastores.Errorf(datastores.Conflict, "the server does not have the binary log any more that is next: more was written than it keeps, or the log was reset")

// KeepLog implements [datastores.PointInTime].
func (m *Manager) KeepLog(ctx context.Context, from string) (string, error) {
	now, err := m.logEnd(ctx)
	if err != nil {
		return "", err
	}
	at := place{now.file, 0}
	if from != "" {
		if at, err = parsePlace(from); err != nil {
			return "", err
		}
	}
	return at.String(), m.inLog(func(data *volume.Tree, logs []binlog) error {
		is := shippedLog{Version: m.options.Version, File: at.file}
		var err error
		if is.Made, err = madeAt(data, at.file); err != nil {
			return err
		}
		if from == "" {
			return m.own.SaveJSON(shippedName, is)
		}
		var was shippedLog
		if err := m.own.LoadJSON(shippedName, &was); err != nil {
			return err
		}
		switch {
		case was == is:
			return nil
		case was.Version != is.Version:
			return datastores.Errorf(datastores.Conflict, "the server has another version now")
		case was.File == is.File || nextLog(logs, was.File) != is.File && len(logs) > 0 && logs[0].name != is.File:
			return errLogGone
		}
		return m.own.SaveJSON(shippedName, is)
	})
}

// nextLog is the log after another one; "": there is none.
func nextLog(logs []binlog, file string) string {
	i := slices.IndexFunc(logs, func(l binlog) bool { return l.name == file })
	if i < 0 || i+1 == len(logs) {
		return ""
	}
	return logs[i+1].name
}

// The head of a binary log: four bytes, and the event that describes the others.
const (
	eventHeader   = 19
	eventLengthAt = 9
	mostHead      = 4 << 10
)

// headOf reads the head of a binary log.
func headOf(data *volume.Tree, file string) ([]byte, error) {
	f, err := data.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errLogGone
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, mostHead)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return wholeHead(head[:n], file)
}

func wholeHead(b []byte, file string) ([]byte, error) {
	if len(b) < 4+eventHeader || string(b[:4]) != binlogMagic || b[eventTypeAt] != descriptionEvent {
		return nil, fmt.Errorf("%s is no binary log", file)
	}
	length := 4 + int64(binary.LittleEndian.Uint32(b[4+eventLengthAt:]))
	if length > int64(len(b)) {
		return nil, fmt.Errorf("the head of %s is cut off", file)
	}
	return b[:length], nil
}

// madeAt is when a log was begun.
func madeAt(data *volume.Tree, file string) (uint32, error) {
	head, err := headOf(data, file)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(head[4:]), nil
}

// ReadLog implements [datastores.PointInTime].
func (m *Manager) ReadLog(ctx context.Context, req datastores.LogRequest) (reply datastores.LogReply, err error) {
	after, err := parsePlace(req.After)
	if err != nil {
		return reply, err
	}
	now, err := m.logEnd(ctx)
	if err != nil {
		return reply, err
	}
	return reply, m.inLog(func(data *volume.Tree, logs []binlog) error {
		i := slices.IndexFunc(logs, func(l binlog) bool { return l.name == after.file })
		if i < 0 {
			return errLogGone
		}
		end := func(l binlog) int64 {
			if l.name == now.file {
				return now.offset
			}
			return l.size
		}
		from, to := after, place{after.file, end(logs[i])}
		if to.offset < after.offset {
			return errLogGone
		}
		if req.To != "" {
			if to, err = parsePlace(req.To); err != nil {
				return err
			}
		} else if to == after && i+1 < len(logs) {
			to = place{logs[i+1].name, end(logs[i+1])}
		}
		if to.file != from.file {
			from = place{to.file, 0}
		}
		reply.Keeps = m.binlogSpace()
		for _, l := range logs[i:] {
			reply.Kept += l.size
		}
		reply.Kept = max(0, reply.Kept-after.offset)
		if to, err = writePart(data, req.Output, from, to, req.Most, req.To != ""); err != nil {
			return err
		}
		if reply.To = to.String(); to == now.place {
			reply.At = now.at
		}
		return nil
	})
}

// writePart writes a file's bytes between two places, after its head unless they begin with it. It ends with an event, unless that is larger
// than most, and returns where.
func writePart(data *volume.Tree, w io.Writer, from, to place, most int64, exactly bool) (place, error) {
	if from == to {
		return to, nil
	}
	var head []byte
	var err error
	if from.offset > 0 {
		if head, err = headOf(data, from.file); err != nil {
			return to, err
		}
	}
	f, err := data.Open(from.file)
	if errors.Is(err, fs.ErrNotExist) {
		return to, errLogGone
	}
	if err != nil {
		return to, err
	}
	defer func() { _ = f.Close() }()
	body := make([]byte, min(to.offset-from.offset, max(0, most-int64(len(head)))))
	if exactly {
		body = make([]byte, to.offset-from.offset)
	}
	if _, err := f.ReadAt(body, from.offset); err != nil {
		return to, fmt.Errorf("cannot read the binary log: %w", err)
	}
	if from.offset+int64(len(body)) < to.offset && !exactly {
		if n := wholeEvents(body, from.offset == 0); n > 0 {
			body = body[:n]
		}
		to.offset = from.offset + int64(len(body))
	}
	_, err = w.Write(append(head, body...))
	return to, err
}

// wholeEvents is how many bytes the events take that are there as a whole.
func wholeEvents(b []byte, begins bool) int {
	at := 0
	if begins {
		at = 4
	}
	for at+eventHeader <= len(b) {
		length := int(binary.LittleEndian.Uint32(b[at+eventLengthAt:]))
		if length < eventHeader || at+length > len(b) {
			break
		}
		at += length
	}
	return at
}

// DropLog implements [datastores.PointInTime]. Nothing is kept for its sake alone.
func (m *Manager) DropLog(context.Context) error {
	if err := m.own.Remove(shippedName); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
