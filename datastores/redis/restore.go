package redis

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// firstBase is the snapshot with which a restored append-only log begins. A server takes any snapshot for that, so that
// the first start has all data, and its log, at once.
const firstBase = aofName + ".1.base.rdb"

// restore makes the append-only log and the ACL file of a server out of a backup of either strategy.
func (m *Manager) restore(ctx context.Context, req datastores.RestoreRequest) error {
	if len(req.Chain) != 1 {
		return datastores.Errorf(datastores.Invalid, "a chain of %d backups: those of %s are always full", len(req.Chain), m.variant.server())
	}
	if err := m.Stop(ctx); err != nil { // of an earlier try
		return err
	}
	stream, err := req.Chain[0].Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	if err := m.wipe(tree); err != nil {
		return err
	}
	archive := tar.NewReader(stream)
	users, err := readUsersEntry(archive)
	if err != nil {
		return err
	}
	req.Progress("writing the data")
	names, err := m.unpack(tree, archive)
	if err != nil {
		return err
	}
	format, err := formatOf(tree, names[0])
	if err != nil {
		return err
	}
	if format > m.variant.rdb {
		return datastores.Errorf(datastores.Invalid, "the backup has format %d, %s reads up to %d: it was made by a newer server", format, m.variant.name, m.variant.rdb)
	}
	if req.Log != nil {
		req.Progress("adding the log")
		if names, err = m.replay(ctx, tree, names, req.Log); err != nil {
			return err
		}
	}
	if err := m.writeUsers(users, false); err != nil {
		return err
	}
	// Last: without a manifest there is no log.
	return tree.WriteFile(manifestFile, manifestOf(names))
}

// wipe removes what an earlier try has left. That the server is a cluster's member it does not forget, but whom it knew there and what slots
// it had: who it is begins anew, too.
func (m *Manager) wipe(tree *volume.Tree) error {
	st, err := m.loadSide()
	if err != nil {
		return err
	}
	for _, name := range []string{aofFolder, usersFile, dumpFile, folder + "/" + nodesFile} {
		if err := tree.Remove(name); err != nil {
			return err
		}
	}
	if err := errors.Join(m.saveSide(side{Cluster: st.Cluster}), m.otherHistory()); err != nil {
		return err
	}
	return tree.MakeDir(aofFolder)
}

// unpack writes the files of the log and returns their names, the base first. A name that is there already means that the backup
// holds it twice.
func (m *Manager) unpack(tree *volume.Tree, archive *tar.Reader) (names []string, err error) {
	var f *os.File
	done := func() error {
		if f == nil {
			return nil
		}
		err := errors.Join(f.Sync(), f.Close())
		f = nil
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the backup cannot be read: %w", err)
		}
		name := h.Name
		part := strings.HasPrefix(name, dumpPrefix)
		if part {
			name = firstBase
		}
		if !logName.MatchString(name) {
			return nil, fmt.Errorf("the backup holds %q, which is not of it", h.Name)
		}
		if !part || f == nil {
			if err := done(); err != nil {
				return nil, err
			}
			if f, err = tree.Create(filepath.Join(aofFolder, name)); err != nil {
				return nil, err
			}
			names = append(names, name)
		}
		if _, err := io.Copy(f, archive); err != nil {
			return nil, fmt.Errorf("the backup cannot be read: %w", err)
		}
	}
	if len(names) == 0 || !strings.Contains(names[0], ".base.") {
		return nil, errors.New("the backup holds no snapshot")
	}
	return names, nil
}

// dataFormat is the RDB format of the snapshot that the server's log begins with; 0: it begins with none.
func (m *Manager) dataFormat() (int, error) {
	tree, err := m.data.Open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = tree.Close() }()
	manifest, err := tree.ReadFile(manifestFile, maxManifest)
	if err != nil {
		return 0, err
	}
	names := manifestNames(manifest)
	if len(names) == 0 {
		return 0, errors.New("the append-only log has no files")
	}
	return formatOf(tree, names[0])
}

// formatOf reads the head of a snapshot: REDIS and four digits. A log without snapshot has format 0.
func formatOf(tree *volume.Tree, name string) (int, error) {
	if !strings.HasSuffix(name, ".rdb") {
		return 0, nil
	}
	f, err := tree.Open(filepath.Join(aofFolder, name))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, len("REDIS0000"))
	if _, err := io.ReadFull(f, head); err != nil {
		return 0, fmt.Errorf("%s is no snapshot: %w", name, err)
	}
	digits, ok := strings.CutPrefix(string(head), "REDIS")
	format, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return 0, fmt.Errorf("%s is no snapshot: it begins with %q", name, head)
	}
	return format, nil
}
