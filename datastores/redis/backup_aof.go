package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// backupAOF has the append-only log rewritten, which is quick and local, and then copies it: the snapshot that it begins
// with, and what was written since, up to the moment at which its files are opened. Files that the server replaces
// meanwhile stay readable, and take room on the volume, until the backup ends.
func (m *Manager) backupAOF(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
	if err := m.rewriteLog(ctx); err != nil {
		return datastores.BackupReply{}, err
	}
	files, err := m.openLog()
	if err != nil {
		return datastores.BackupReply{}, err
	}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	var total int64
	for _, f := range files {
		total += f.size
	}
	err = m.archive(ctx, req, total, func(a archiver) error {
		for _, f := range files {
			if err := a.entry(f.name, f.size, f); err != nil {
				return err
			}
		}
		return nil
	})
	return datastores.BackupReply{}, err
}

// rewriteLog has the log rewritten, or waits for a rewriting that has begun already.
func (m *Manager) rewriteLog(ctx context.Context) error {
	err := m.call(ctx, []string{"BGREWRITEAOF"})
	var refused replyError
	if err != nil && !(errors.As(err, &refused) && strings.Contains(string(refused), "already in progress")) {
		return err
	}
	return m.awaitLog(ctx)
}

// awaitLog waits until the append-only log is not being rewritten. Only then is all on disk of a server that has copied
// its source.
func (m *Manager) awaitLog(ctx context.Context) error {
	for {
		info, err := m.info(ctx, "persistence")
		switch {
		case err != nil:
			return err
		case info["aof_rewrite_in_progress"] == "1" || info["aof_rewrite_scheduled"] == "1":
		case info["aof_last_bgrewrite_status"] != "ok":
			return errors.New("the server could not rewrite its append-only log: is the volume full?")
		default:
			return nil
		}
		if !service.Pause(ctx, 20*time.Millisecond) {
			return fmt.Errorf("the append-only log is not rewritten yet: %w", ctx.Err())
		}
	}
}

// logPart is a file of the append-only log, as long as it was when it was opened.
type logPart struct {
	*os.File
	name string
	size int64
}

// openLog opens all files of the log. It tries again when the server has begun a new one meanwhile.
func (m *Manager) openLog() ([]logPart, error) {
	tree, err := m.data.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = tree.Close() }()
	for try := 0; ; try++ {
		manifest, err := tree.ReadFile(manifestFile, maxManifest)
		if err != nil {
			return nil, err
		}
		files, err := openParts(tree, manifest)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		now, readErr := tree.ReadFile(manifestFile, maxManifest)
		if err == nil && readErr == nil && bytes.Equal(manifest, now) {
			return files, nil
		}
		for _, f := range files {
			_ = f.Close()
		}
		if try == 10 {
			return nil, errors.Join(fmt.Errorf("the append-only log changes all the time"), err, readErr)
		}
	}
}

// openParts opens what a manifest names. What it has opened before an error it returns too.
func openParts(tree *volume.Tree, manifest []byte) ([]logPart, error) {
	var files []logPart
	for _, name := range manifestNames(manifest) {
		f, err := tree.Open(filepath.Join(aofFolder, name))
		if err != nil {
			return files, err
		}
		info, err := f.Stat()
		if err != nil {
			return files, errors.Join(err, f.Close())
		}
		files = append(files, logPart{f, name, info.Size()})
	}
	if len(files) == 0 {
		return nil, errors.New("the append-only log has no files")
	}
	return files, nil
}

const (
	manifestFile = aofFolder + "/" + aofName + ".manifest"
	maxManifest  = 1 << 20 // bytes
)

// manifestNames are the files that make the log, in their order: "file NAME seq N type b", i for what follows the base,
// h for what is being deleted.
func manifestNames(manifest []byte) []string {
	var names []string
	for line := range bytes.Lines(manifest) {
		words := strings.Fields(string(line))
		if len(words) >= 6 && words[0] == "file" && slices.Contains([]string{"b", "i"}, words[5]) && logName.MatchString(words[1]) {
			names = append(names, words[1])
		}
	}
	return names
}

// manifestOf is the manifest of the files, in their order.
func manifestOf(names []string) []byte {
	var b bytes.Buffer
	for _, name := range names {
		parts := logName.FindStringSubmatch(name)
		fmt.Fprintf(&b, "file %s seq %s type %c\n", name, parts[1], parts[2][0])
	}
	return b.Bytes()
}
