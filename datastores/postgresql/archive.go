package postgresql

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
)

// unpack puts the files of a tar below the directory name of the volume, over what is there; they are the server's.
func (m *Manager) unpack(ctx context.Context, r io.Reader, name string) error {
	root, err := os.OpenRoot(m.path(name))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	files := tar.NewReader(r)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = m.unpackOne(root, header, files)
		}
		if err != nil {
			return fmt.Errorf("cannot unpack the data: %w", err)
		}
	}
}

func (m *Manager) unpackOne(root *os.Root, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(header.Name)
	switch {
	case name == ".":
		return nil
	case header.Typeflag == tar.TypeDir:
		if err := root.Mkdir(name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return root.Lchown(name, m.env.UID, m.env.GID)
	case header.Typeflag != tar.TypeReg:
		return datastores.Errorf(datastores.Invalid, "%s is neither a file nor a directory", name)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil && m.env.UID >= 0 {
		err = f.Chown(m.env.UID, m.env.GID)
	}
	return errors.Join(err, f.Close())
}
