package cassandra

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

const (
	snapshotPrefix  = "coffer-"
	snapshotsFolder = "snapshots"
	commitLogFolder = folder + "/commitlog"
	listPrefix      = "cassandra-backup-" // below Env.Dir: what a backup held, for the next one on it
	mostLists       = 100
	listEntry       = "backup.json" // the first of an archive
	maxList         = 256 << 20     // bytes
)

// BackupStrategies implements [datastores.Backups].
func (m *Manager) BackupStrategies() []datastores.BackupStrategy {
	return []datastores.BackupStrategy{{
		StrategyName: datastores.StrategyName{Namespace: "cassandra_impl", Name: "snapshot"},
		Incremental:  true, Backup: m.backup, Restore: m.restore,
	}}
}

// contents is the first entry of a backup's archive: every file that the server had, those of earlier backups as well.
type contents struct {
	Version string `json:"version"`
	Files   []file `json:"files"`
}

// file is one of a table's, by its path below the server's data. No other file ever has its name, but one may be written anew.
type file struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Time int64  `json:"time"` // when it was written, in nanoseconds
}

// backup has the server write what is in memory to its tables and link all files of them, and streams those that the parent has not. The
// links keep files for as long as that takes; nothing is copied on the volume.
func (m *Manager) backup(ctx context.Context, req datastores.BackupRequest) (reply datastores.BackupReply, err error) {
	if !backupID.MatchString(req.ID) {
		return reply, datastores.Errorf(datastores.Invalid, "%q is no id of a backup", req.ID)
	}
	var before contents
	if req.Parent != nil {
		if before, err = m.loadList(req.Parent.ID); err != nil {
			return reply, err
		}
	}
	if err := errors.Join(ctx.Err(), m.clearSnapshots()); err != nil {
		return reply, err
	}
	defer func() { err = errors.Join(err, m.clearSnapshots()) }()
	tag := snapshotPrefix + req.ID
	if err := m.nodetool(ctx, "snapshot", "-t", tag); err != nil {
		return reply, err
	}
	tree, err := m.data.Open()
	if err != nil {
		return reply, err
	}
	defer func() { _ = tree.Close() }()
	now := contents{Version: m.variant.version}
	if now.Files, err = snapshotFiles(tree, tag); err != nil {
		return reply, err
	}
	if err := send(ctx, req, tree, tag, now, before); err != nil {
		return reply, errors.Join(ctx.Err(), err)
	}
	reply.Without, err = sizeOf(tree, commitLogFolder)
	return reply, errors.Join(err, m.saveList(req.ID, now))
}

// send writes the archive.
func send(ctx context.Context, req datastores.BackupRequest, tree *volume.Tree, tag string, now, before contents) error {
	had := map[file]bool{}
	for _, f := range before.Files {
		had[f] = true
	}
	fresh := slices.DeleteFunc(slices.Clone(now.Files), func(f file) bool { return had[f] })
	list, err := json.Marshal(now)
	if err != nil {
		return err
	}
	total := int64(len(list))
	for _, f := range fresh {
		total += f.Size
	}
	req.Expect(total)
	w := tar.NewWriter(req.Output)
	if err := entry(w, listEntry, int64(len(list)), bytes.NewReader(list)); err != nil {
		return err
	}
	for _, f := range fresh {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := sendFile(w, tree, linkOf(f.Name, tag), f); err != nil {
			return err
		}
	}
	return w.Close()
}

func sendFile(w *tar.Writer, tree *volume.Tree, link string, f file) error {
	from, err := tree.Open(link)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	return entry(w, f.Name, f.Size, from)
}

func entry(w *tar.Writer, name string, size int64, r io.Reader) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: size, Format: tar.FormatPAX}); err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(r, size))
	if err == nil && n < size {
		err = fmt.Errorf("%s is shorter than it was: %w", name, io.ErrUnexpectedEOF)
	}
	return err
}

// tableFile is the name of a table's file, or of one of its indexes', below the server's data: KEYSPACE/TABLE-ID/FILE.
var (
	tableFile = regexp.MustCompile(`^([A-Za-z0-9_]{1,48})/([A-Za-z0-9_]+-[0-9a-f]{32})/((?:\.[A-Za-z0-9_]+/)?[A-Za-z0-9][A-Za-z0-9_.+-]*)$`)
	backupID  = regexp.MustCompile(`^[0-9a-f-]{36}$`)
)

// linkOf is where a snapshot has the file.
func linkOf(name, tag string) string {
	part := tableFile.FindStringSubmatch(name)
	return filepath.Join(dataFolder, part[1], part[2], snapshotsFolder, tag, part[3])
}

// snapshotFiles are the files of a snapshot, but for those that say who this server is: a server made of the backup is another one.
func snapshotFiles(tree *volume.Tree, tag string) (files []file, err error) {
	err = eachTable(tree, func(keyspace, table string) error {
		links := filepath.Join(dataFolder, keyspace, table, snapshotsFolder, tag)
		if there, err := tree.Exists(links); err != nil || !there || keyspace == "system" {
			return err
		}
		return tree.Walk(links, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name := filepath.Join(keyspace, table, strings.TrimPrefix(path, links+"/"))
			if base := filepath.Base(path); base == "manifest.json" || base == "schema.cql" || !tableFile.MatchString(name) {
				return nil
			}
			info, err := tree.Lstat(path)
			if err == nil {
				files = append(files, file{name, info.Size(), info.ModTime().UnixNano()})
			}
			return err
		})
	})
	return files, err
}

// eachTable visits the folders of all tables.
func eachTable(tree *volume.Tree, visit func(keyspace, table string) error) error {
	keyspaces, err := tree.List(dataFolder)
	if err != nil {
		return err
	}
	for _, keyspace := range keyspaces {
		if !keyspace.IsDir() {
			continue
		}
		tables, err := tree.List(filepath.Join(dataFolder, keyspace.Name()))
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // dropped just now
			}
			return err
		}
		for _, table := range tables {
			if err := visit(keyspace.Name(), table.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// clearSnapshots removes what backups have linked, of one that was cut off as well.
func (m *Manager) clearSnapshots() error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	return eachTable(tree, func(keyspace, table string) error {
		links := filepath.Join(dataFolder, keyspace, table, snapshotsFolder)
		if there, err := tree.Exists(links); err != nil || !there {
			return err
		}
		if err := tree.RemovePrefixed(links, snapshotPrefix); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func sizeOf(tree *volume.Tree, dir string) (bytes int64, err error) {
	err = tree.Walk(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := tree.Lstat(path); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes, err
}
