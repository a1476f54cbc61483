package inmemory

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

var byCopy = datastores.StrategyName{Namespace: "memory_impl", Name: "copy"}

func (m *manager) BackupStrategies() []datastores.BackupStrategy {
	slow := backup{manager: m, logical: true, padding: m.memory.BackupBytes}
	return []datastores.BackupStrategy{
		{StrategyName: byCopy, Incremental: true, Replays: true, Tool: "memory-copy", Backup: backup{manager: m}.backup, Restore: backup{manager: m}.restore},
		{StrategyName: datastores.StrategyName{Namespace: "memory_impl", Name: "slow"}, Logical: true, Backup: slow.backup, Restore: slow.restore},
	}
}

// backup writes the lines of a server's history, and the number of lines after "end" so that a cut one is found out.
// Lines that begin with # mean nothing.
type backup struct {
	*manager
	logical bool
	padding int64
}

// metadata tells how many lines of the history a backup and those before it hold.
type metadata struct{ Lines int }

func (b backup) backup(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
	var since metadata
	if req.Parent != nil {
		if err := json.Unmarshal(req.Parent.Meta, &since); err != nil || b.logical {
			return datastores.BackupReply{}, datastores.Errorf(datastores.Invalid, "backup %s cannot be built on", req.Parent.ID)
		}
	}
	var history []string
	if err := b.ask(ctx, func(s *server) error {
		history = slices.Clone(s.history)
		return nil
	}); err != nil {
		return datastores.BackupReply{}, err
	}
	if since.Lines > len(history) {
		return datastores.BackupReply{}, datastores.Errorf(datastores.Conflict, "backup %s is of another history", req.Parent.ID)
	}
	if err := b.write(ctx, history[since.Lines:], req); err != nil {
		return datastores.BackupReply{}, err
	}
	meta, err := json.Marshal(metadata{len(history)})
	return datastores.BackupReply{Meta: meta}, err
}

// write fails and waits half way, when it is to.
func (b backup) write(ctx context.Context, lines []string, req datastores.BackupRequest) error {
	total := b.padding
	for _, line := range lines {
		total += int64(len(line)) + 1
	}
	req.Expect(total)
	out := out{req.Output}
	half := len(lines) / 2
	return first(
		func() error { return out.lines(lines[:half]) },
		func() error { return out.pad(b.padding / 2) },
		func() error { return b.enter(ctx, datastores.MethodCreateBackup) },
		func() error { return out.pad(b.padding - b.padding/2) },
		func() error { return out.lines(lines[half:]) },
		func() error { _, err := fmt.Fprintf(req.Output, "end %d\n", len(lines)); return err },
	)
}

// first calls one after the other until one fails.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// out is where a backup goes.
type out struct{ io.Writer }

func (o out) lines(lines []string) error {
	for _, line := range lines {
		if _, err := io.WriteString(o, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// pad writes so many bytes that mean nothing.
func (o out) pad(bytes int64) error {
	for bytes > 0 {
		n := min(bytes, 64<<10)
		if _, err := io.WriteString(o, strings.Repeat("#", int(n-1))+"\n"); err != nil {
			return err
		}
		bytes -= n
	}
	return nil
}

func (b backup) restore(ctx context.Context, req datastores.RestoreRequest) error {
	restored := newContents()
	for i, link := range req.Chain {
		req.Progress(fmt.Sprintf("reading backup %d of %d", i+1, len(req.Chain)))
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := restoreOne(ctx, &restored, link); err != nil {
			return fmt.Errorf("backup %s: %w", link.ID, err)
		}
	}
	err := restored.replay(ctx, req.Log)
	if err != nil {
		return err
	}
	b.memory.with(b.env.Address, func(s *server) {
		if s.running != b.logical {
			err = fmt.Errorf("the server runs: %v, want %v", s.running, b.logical)
			return
		}
		s.contents = restored
		s.passes(AtRestore)
		if len(req.Chain) > 1 {
			s.passes(AtIncrements)
		}
	})
	return err
}

func restoreOne(ctx context.Context, into *contents, link datastores.BackupLink) error {
	r, err := link.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	lines, seen, end := bufio.NewScanner(r), 0, ""
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && end == "" {
		switch text := lines.Text(); {
		case strings.HasPrefix(text, "#"):
		case strings.HasPrefix(text, "end "):
			end = text
		default:
			if err := into.record(text); err != nil {
				return errors.Join(lines.Err(), err) // a stream that fails ends in the middle of a line
			}
			seen++
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if want := fmt.Sprintf("end %d", seen); end != want {
		return fmt.Errorf("it ends with %q, want %q", end, want)
	}
	return nil
}
