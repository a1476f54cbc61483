package redis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// The log that is shipped is the increments of the append-only file, appendonly.aof.N.incr.aof: together, in the order of their numbers, they are every
// change, and snapshots lie between them. A server that rewrites removes what the new snapshot has; told not to
// (aof-disable-auto-gc) it keeps the files, and the guest removes those that are shipped. It writes into the log, once a second, which second it is:
// https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/#log-rewriting

const (
	// keptName is, in the guest's directory, there as long as the log is kept. Whatever gives the server another history removes it.
	keptName = "redis-log.json"
	// unsure is for how long the server may put a write into the log off, because the disk is busy, and acknowledge it.
	unsure = 3 * time.Second
	// longManifest is how many bytes the list of files may have, with those that the guest has removed, before the server is told to forget them.
	longManifest = 64 << 10
)

// keptLog is of a log that is kept.
type keptLog struct {
	Kept bool `json:"kept"`
}

// spot is one in the log: in an increment, how many bytes lie before it.
type spot struct{ file, offset int64 }

func (p spot) String() string { return fmt.Sprintf("%s:%d", incrName(p.file), p.offset) }

func (p spot) before(q spot) bool { return p.file < q.file || p.file == q.file && p.offset < q.offset }

func incrName(n int64) string { return fmt.Sprintf("%s.%d.incr.aof", aofName, n) }

// numberOf is that of an increment; 0: it is none.
func numberOf(name string) int64 {
	parts := logName.FindStringSubmatch(name)
	if parts == nil || parts[2] != "incr.aof" {
		return 0
	}
	n, _ := strconv.ParseInt(parts[1], 10, 64)
	return n
}

func parsePlace(text string) (p spot, err error) {
	name, offset, ok := strings.Cut(text, ":")
	p.file = numberOf(name)
	p.offset, err = strconv.ParseInt(offset, 10, 64)
	if !ok || err != nil || p.file == 0 || p.offset < 0 {
		return p, datastores.Errorf(datastores.Invalid, "%.80q is no position in the append-only file: one is like %s", text, spot{3, 4711})
	}
	return p, nil
}

// logFiles are the files of the log on the volume.
type logFiles struct {
	live    []string // what the server loads
	history []string // what it would have removed
	last    int64    // the increment that it writes
	long    bool
}

func readLogFiles(tree *volume.Tree) (files logFiles, err error) {
	manifest, err := tree.ReadFile(manifestFile, maxManifest)
	if err != nil {
		return files, err
	}
	files.long = len(manifest) > longManifest
	for line := range strings.Lines(string(manifest)) {
		words := strings.Fields(line)
		switch {
		case len(words) < 6 || words[0] != "file" || !logName.MatchString(words[1]):
		case words[5] == "h":
			files.history = append(files.history, words[1])
		default:
			files.live = append(files.live, words[1])
			files.last = max(files.last, numberOf(words[1]))
		}
	}
	if files.last == 0 {
		err = errors.New("the append-only file has no increment")
	}
	return files, err
}

// KeepLog implements [datastores.PointInTime].
func (m *Manager) KeepLog(ctx context.Context, from string) (position string, err error) {
	info, err := m.info(ctx, "replication")
	if err != nil {
		return "", err
	}
	if info["role"] != roleSource {
		return "", datastores.Errorf(datastores.Unavailable, "the server follows another one, and writes no log of its own")
	}
	if from != "" {
		return from, m.letGo(ctx, from)
	}
	if err := m.own.SaveJSON(keptName, keptLog{true}); err != nil {
		return "", err
	}
	if err := m.keepHistory(ctx, "yes"); err != nil {
		return "", err
	}
	err = m.inData(func(tree *volume.Tree) error {
		files, err := readLogFiles(tree)
		if err != nil {
			return err
		}
		f, err := tree.Open(filepath.Join(aofFolder, incrName(files.last)))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		end, err := m.whole(ctx, f, files.last)
		position = spot{files.last, end}.String()
		return err
	})
	return position, err
}

// keepHistory tells the server whether it keeps what it has rewritten. A server that an older guest has started does not write seconds yet.
func (m *Manager) keepHistory(ctx context.Context, keep string) error {
	return m.call(ctx, []string{"CONFIG", "SET", "aof-timestamp-enabled", "yes", "aof-disable-auto-gc", keep})
}

func (m *Manager) keepsLog() bool {
	var is keptLog
	return m.own.LoadJSON(keptName, &is) == nil && is.Kept
}

// otherHistory is called when what the server writes from now on does not go on from what it has written.
func (m *Manager) otherHistory() error { return m.own.Remove(keptName) }

func (m *Manager) inData(do func(*volume.Tree) error) error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	return do(tree)
}

func gone(p spot) error {
	return datastores.Errorf(datastores.Conflict, "the append-only file does not go on from %s: the server has begun another one, or lost its end", p)
}

// keeps is how many bytes are kept of what is not shipped: a quarter of the volume.
func (m *Manager) keeps() int64 {
	_, total, _ := m.data.Space()
	return int64(total / 4)
}

// letGo removes what lies before a position of what the server would have removed. When too much lies behind, it all goes.
func (m *Manager) letGo(ctx context.Context, from string) error {
	p, err := parsePlace(from)
	if err != nil {
		return err
	}
	if !m.keepsLog() {
		return datastores.Errorf(datastores.Conflict, "the server has begun another history: by a promotion, a restore or an upgrade")
	}
	var held int64
	var long bool
	err = m.inData(func(tree *volume.Tree) error {
		files, err := readLogFiles(tree)
		if err != nil {
			return err
		}
		if info, err := tree.Lstat(filepath.Join(aofFolder, incrName(p.file))); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() < p.offset {
			return gone(p)
		}
		long = files.long
		for _, name := range files.history {
			path := filepath.Join(aofFolder, name)
			if numberOf(name) < p.file { // snapshots, too
				err = errors.Join(err, tree.Remove(path))
			} else if info, statErr := tree.Lstat(path); statErr == nil {
				held += info.Size()
			}
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case held > m.keeps():
		return errors.Join(m.DropLog(ctx), datastores.Errorf(datastores.Conflict,
			"%d bytes of the append-only file were not shipped, more than the quarter of the volume that is kept for that: the server has given them up", held))
	case long && held == 0: // what becomes history in between is missed, and ends the window
		return errors.Join(m.keepHistory(ctx, "no"), m.keepHistory(ctx, "yes"))
	}
	return nil
}

// DropLog implements [datastores.PointInTime]. A server that does not run forgets it when it is started.
func (m *Manager) DropLog(ctx context.Context) error {
	if err := m.own.Remove(keptName); err != nil {
		return err
	}
	if _, _, ok := m.service.Running(); !ok {
		return nil
	}
	return m.keepHistory(ctx, "no")
}

// ReadLog implements [datastores.PointInTime]. What is shipped of a file that is still written is on the disk, and ends where no command and no
// transaction is open: a server that is started again cuts these off.
func (m *Manager) ReadLog(ctx context.Context, req datastores.LogRequest) (reply datastores.LogReply, err error) {
	after, err := parsePlace(req.After)
	if err != nil {
		return reply, err
	}
	if !m.keepsLog() {
		return reply, gone(after)
	}
	now := time.Now()
	info, err := m.info(ctx, "persistence")
	if err != nil {
		return reply, err
	}
	if info["aof_buffer_length"] != "0" {
		now = now.Add(-unsure)
	}
	err = m.inData(func(tree *volume.Tree) error {
		files, err := readLogFiles(tree)
		if err != nil {
			return err
		}
		r := logReader{Manager: m, ctx: ctx, tree: tree, files: files}
		defer r.close()
		if err := r.open(after); err != nil {
			return err
		}
		reply.Keeps = m.keeps()
		reply.To, reply.Kept, err = r.copy(after, req)
		if err == nil && r.reached {
			reply.At = now.UTC()
		}
		return err
	})
	return reply, err
}
