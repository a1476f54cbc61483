package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// A part of the log is what lies between two positions: of one increment, or of one to its end and of the next one that has anything from its
// begin on.

// logReader reads one.
type logReader struct {
	*Manager
	ctx     context.Context
	tree    *volume.Tree
	files   logFiles
	opened  []*os.File
	ends    []int64 // up to where each can be shipped
	numbers []int64
	reached bool // the end of what can be shipped now
}

func (r *logReader) close() {
	for _, f := range r.opened {
		_ = f.Close()
	}
}

// open opens the increment of a position, and when that is complete those that follow, up to one that has anything.
func (r *logReader) open(after spot) error {
	for n := after.file; n != 0; n = r.files.after(n) {
		f, err := r.tree.Open(filepath.Join(aofFolder, incrName(n)))
		if errors.Is(err, fs.ErrNotExist) {
			return gone(after)
		}
		if err != nil {
			return err
		}
		r.opened = append(r.opened, f)
		info, err := f.Stat()
		if err != nil {
			return err
		}
		end := info.Size()
		if n == r.files.last {
			if end, err = r.whole(r.ctx, f, n); err == nil {
				err = f.Sync()
			}
			if err != nil {
				return err
			}
		}
		r.numbers, r.ends = append(r.numbers, n), append(r.ends, end)
		if n != after.file && end > 0 {
			break
		}
	}
	if r.ends[0] < after.offset {
		return gone(after)
	}
	return nil
}

// copy writes the part that begins at a position, and returns where it ends, and how many bytes were there.
func (r *logReader) copy(after spot, req datastores.LogRequest) (to string, kept int64, err error) {
	end, most := spot{}, req.Most
	if req.To != "" {
		if end, err = parsePlace(req.To); err != nil {
			return "", 0, err
		}
		most = 1 << 62
	}
	at := after
	for i, f := range r.opened {
		from, last := int64(0), r.ends[i]
		if i == 0 {
			from = after.offset
		}
		kept += last - from
		if end.file == r.numbers[i] {
			if last < end.offset {
				return "", 0, gone(end)
			}
			last = end.offset
		}
		n := min(last-from, most)
		if n > 0 {
			if _, err := io.Copy(req.Output, io.NewSectionReader(f, from, n)); err != nil {
				return "", 0, fmt.Errorf("cannot read the log: %w", err)
			}
			at = spot{r.numbers[i], from + n}
		}
		if most -= n; most == 0 || end.file == r.numbers[i] {
			break
		}
	}
	i := len(r.numbers) - 1
	r.reached = r.numbers[i] == r.files.last && (at == spot{r.files.last, r.ends[i]} || kept == 0)
	return at.String(), kept, nil
}

// after is the increment that follows one; 0: it is the last.
func (files logFiles) after(n int64) (next int64) {
	for _, name := range slices.Concat(files.live, files.history) {
		if is := numberOf(name); is > n && (next == 0 || is < next) {
			next = is
		}
	}
	return next
}

// scanned is up to where an increment was looked at.
type scannedLog struct{ file, end int64 }

// whole is where the last command of an increment ends that is complete, and in no transaction that is open. It looks on from where it had come.
func (m *Manager) whole(ctx context.Context, f *os.File, number int64) (end int64, err error) {
	m.logMu.Lock()
	defer m.logMu.Unlock()
	if m.logSeen.file != number {
		m.logSeen = scannedLog{file: number}
	}
	s := scanner{r: bufio.NewReaderSize(io.NewSectionReader(f, m.logSeen.end, 1<<62), 256<<10), ctx: ctx, at: m.logSeen.end}
	for open := false; ctx.Err() == nil; {
		first, err := s.r.Peek(1)
		if err == nil {
			err = s.command(first[0])
		}
		switch err {
		case nil:
		case io.EOF:
			return m.logSeen.end, nil
		default:
			return 0, fmt.Errorf("%s cannot be read at %d: %w", f.Name(), s.at, err)
		}
		switch s.name {
		case "MULTI":
			open = true
		case "EXEC":
			open = false
		}
		if !open {
			m.logSeen.end = s.at
		}
	}
	return 0, ctx.Err()
}

// replay adds the log to the increments that a backup has brought, and cuts them at the moment that is asked for. It returns the files that are left.
func (m *Manager) replay(ctx context.Context, tree *volume.Tree, names []string, log *datastores.LogReplay) ([]string, error) {
	last := names[len(names)-1]
	if numberOf(last) == 0 {
		return nil, datastores.Errorf(datastores.Invalid, "the backup has no part of the append-only file: no log can be replayed on it")
	}
	var target spot
	if log.Position != "" {
		var err error
		if target, err = parsePlace(log.Position); err != nil {
			return nil, err
		}
	}
	if err := addLog(ctx, tree, last, target, log.Next); err != nil || log.Position != "" {
		return names, err
	}
	for i, name := range names {
		if numberOf(name) == 0 {
			continue
		}
		cut, err := cutAfter(ctx, tree, filepath.Join(aofFolder, name), log.Time.Unix())
		if err != nil {
			return nil, err
		}
		if !cut {
			continue
		}
		for _, later := range names[i+1:] {
			if err := tree.Remove(filepath.Join(aofFolder, later)); err != nil {
				return nil, err
			}
		}
		return names[:i+1], nil
	}
	return names, nil
}

// logWriter writes the log behind the last increment of a backup.
type logWriter struct {
	f      *os.File
	at     spot // where the next byte belongs
	seen   bool // the log reaches that
	target spot // the zero spot: none
}

func addLog(ctx context.Context, tree *volume.Tree, name string, target spot, next func(context.Context) (datastores.LogPart, error)) (err error) {
	f, err := tree.OpenFile(filepath.Join(aofFolder, name), os.O_WRONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Sync(), f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	w := logWriter{f: f, at: spot{numberOf(name), size}, target: target}
	if target != (spot{}) && target.before(w.at) {
		return datastores.Errorf(datastores.Invalid, "the backup is later than the position %s: it ends at %s", target, w.at)
	}
	for w.at != target {
		part, err := next(ctx)
		if err == io.EOF {
			if target != (spot{}) {
				return datastores.Errorf(datastores.Invalid, "the log that was shipped does not come to the position %s", target)
			}
			return nil
		}
		if err == nil {
			err = w.part(part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// part writes what of a part lies behind what is there, up to the target.
func (w *logWriter) part(part datastores.LogPart) error {
	after, err1 := parsePlace(part.After)
	to, err2 := parsePlace(part.To)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !w.at.before(after) && !to.before(w.at) {
		w.seen = true
	}
	head, tail := part.Data, []byte(nil)
	if to.file != after.file {
		if to.offset > int64(len(head)) {
			return fmt.Errorf("the part of the log from %s to %s has %d bytes", after, to, len(head))
		}
		cut := len(head) - int(to.offset)
		head, tail = head[:cut], head[cut:]
	}
	if err := w.write(after, head); err != nil || to.file == after.file || w.at == w.target {
		return err
	}
	return w.write(spot{file: to.file}, tail)
}

func (w *logWriter) write(from spot, data []byte) error {
	end := spot{from.file, from.offset + int64(len(data))}
	if from.file < w.at.file || end.before(w.at) {
		return nil
	}
	switch {
	case from.file > w.at.file && w.seen && from.offset == 0:
		w.at = from
	case from.file > w.at.file || w.at.before(from):
		return datastores.Errorf(datastores.Invalid, "the log has a gap between %s and %s", w.at, from)
	}
	data = data[w.at.offset-from.offset:]
	if w.target.file == w.at.file && w.target.offset <= end.offset {
		data = data[:w.target.offset-w.at.offset]
	}
	n, err := w.f.Write(data)
	w.at.offset += int64(n)
	return err
}

// cutAfter cuts an increment where a later second begins than the one that is asked for, and reports whether there is one.
func cutAfter(ctx context.Context, tree *volume.Tree, name string, second int64) (cut bool, err error) {
	f, err := tree.OpenFile(name, os.O_RDWR)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s := scanner{r: bufio.NewReaderSize(f, 256<<10), ctx: ctx}
	for ctx.Err() == nil {
		from := s.at
		first, err := s.r.Peek(1)
		if err == nil {
			err = s.command(first[0])
		}
		if err != nil {
			return false, nil // the server judges a torn end
		}
		if s.stamp > second {
			return true, errors.Join(f.Truncate(from), f.Sync())
		}
	}
	return false, ctx.Err()
}
