package cassandra

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// restore puts the files of the last backup's list where a server of its own identity finds them: it is a new one, with the schema, the
// roles and the rows of the old. Each comes from the last backup of the chain that has it.
func (m *Manager) restore(ctx context.Context, req datastores.RestoreRequest) error {
	if len(req.Chain) == 0 {
		return datastores.Errorf(datastores.Invalid, "there is no backup to restore")
	}
	if err := m.Stop(ctx); err != nil { // of an earlier try
		return err
	}
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	if err := m.wipe(tree); err != nil {
		return err
	}
	var last contents
	if err := unpack(ctx, req.Chain[len(req.Chain)-1], func(list contents, _ *tar.Reader) error { last = list; return nil }); err != nil {
		return err
	}
	if datastores.CompareVersions(last.Version, m.variant.version) > 0 {
		return datastores.Errorf(datastores.Invalid, "the backup was made by cassandra %s, which %s cannot read", last.Version, m.variant.version)
	}
	wanted := map[string]int64{}
	for _, f := range last.Files {
		wanted[f.Name] = f.Size
	}
	req.Progress("writing the data")
	for _, link := range req.Chain {
		if err := unpack(ctx, link, func(_ contents, archive *tar.Reader) error { return writeFiles(ctx, tree, archive, wanted) }); err != nil {
			return err
		}
	}
	for name, size := range wanted {
		if info, err := tree.Lstat(filepath.Join(dataFolder, name)); err != nil || info.Size() != size {
			return datastores.Errorf(datastores.Invalid, "the backups do not hold %s, which the last of them names", name)
		}
	}
	return tree.SyncAll(dataFolder)
}

// wipe removes what an earlier try, or the server of one, has left. The guest's account is to be made again.
func (m *Manager) wipe(tree *volume.Tree) error {
	if err := m.own.Remove(admittedFile); err != nil {
		return err
	}
	for _, name := range []string{dataFolder, commitLogFolder, folder + "/saved_caches", folder + "/hints", folder + "/cdc_raw"} {
		if err := tree.Remove(name); err != nil {
			return err
		}
	}
	return tree.MakeDir(dataFolder)
}

// unpack opens a backup and reads its list; do may read on.
func unpack(ctx context.Context, link datastores.BackupLink, do func(contents, *tar.Reader) error) (err error) {
	stream, err := link.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	archive := tar.NewReader(stream)
	header, err := archive.Next()
	if err != nil {
		return fmt.Errorf("the backup cannot be read: %w", err)
	}
	var list contents
	if header.Name != listEntry || header.Size > maxList {
		return fmt.Errorf("the backup does not begin with its list but with %q", header.Name)
	}
	if err := json.NewDecoder(archive).Decode(&list); err != nil {
		return fmt.Errorf("the list of the backup: %w", err)
	}
	for _, f := range list.Files {
		if part := tableFile.FindStringSubmatch(f.Name); part == nil || part[1] == "system" {
			return fmt.Errorf("the backup holds %q, which is not of it", f.Name)
		}
	}
	return do(list, archive)
}

// writeFiles writes those files that are wanted.
func writeFiles(ctx context.Context, tree *volume.Tree, archive *tar.Reader, wanted map[string]int64) error {
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("the backup cannot be read: %w", err)
		}
		if _, ok := wanted[header.Name]; !ok {
			continue // it was gone when the last backup was made
		}
		if err := writeFile(tree, filepath.Join(dataFolder, header.Name), archive); err != nil {
			return fmt.Errorf("the backup cannot be read: %w", err)
		}
	}
}

// writeFile writes a file, in place of one of an earlier backup, and the folders above it.
func writeFile(tree *volume.Tree, name string, content io.Reader) error {
	if err := makeParents(tree, filepath.Dir(name)); err != nil {
		return err
	}
	f, err := tree.Create(name)
	if errors.Is(err, fs.ErrExist) {
		f, err = tree.OpenFile(name, os.O_RDWR|os.O_TRUNC)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

func makeParents(tree *volume.Tree, dir string) error {
	if there, err := tree.Exists(dir); err != nil || there {
		return err
	}
	if err := makeParents(tree, filepath.Dir(dir)); err != nil {
		return err
	}
	return tree.MakeDir(dir)
}
