package volume

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
)

// WriteTar writes the regular files and the directories of the tree to w as a tar archive, by names relative to it. Links, sockets and
// devices are left out. A file that shrinks meanwhile is an error.
func (t *Tree) WriteTar(ctx context.Context, w io.Writer) error {
	archive := tar.NewWriter(w)
	err := t.Walk(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		switch {
		case err != nil || path == ".":
			return err
		case d.IsDir():
			return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: 0o700})
		case d.Type().IsRegular():
			return t.writeTarFile(ctx, archive, path)
		}
		return nil
	})
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot archive the files: %w", err)
	}
	return nil
}

// CopyTar writes what a tar archive holds, files and directories, to another one, below prefix: so archives from several sources
// become one stream without a copy on the disk. A source that ends before the end of its archive is an error, an empty one, too.
func CopyTar(ctx context.Context, to *tar.Writer, prefix string, from io.Reader) error {
	source := &ending{r: &watched{ctx, from}}
	archive := tar.NewReader(source)
	for {
		source.zeroes = 0
		header, err := archive.Next()
		if errors.Is(err, io.EOF) && source.zeroes >= tarEnd {
			return nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			err = copyTarEntry(to, prefix, header, archive)
		}
		if err != nil {
			return fmt.Errorf("cannot copy the archive: %w", err)
		}
	}
}

func copyTarEntry(to *tar.Writer, prefix string, header *tar.Header, content io.Reader) error {
	if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir {
		return nil
	}
	err := to.WriteHeader(&tar.Header{
		Typeflag: header.Typeflag, Name: prefix + header.Name, Mode: header.Mode, Size: header.Size, Format: tar.FormatPAX,
	})
	if err == nil {
		_, err = io.Copy(to, content)
	}
	return err
}

// tarEnd is how many zeroes stand at the end of a tar archive: a reader takes a sudden end between two files for the end.
const tarEnd = 1024

// ending counts the zeroes at the end of what was read since they were last counted.
type ending struct {
	r      io.Reader
	zeroes int
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if rest := bytes.TrimRight(p[:n], "\x00"); len(rest) > 0 {
		e.zeroes = n - len(rest)
	} else {
		e.zeroes += n
	}
	return n, err
}

func (t *Tree) writeTarFile(ctx context.Context, archive *tar.Writer, path string) error {
	f, err := t.Open(path)
	if errors.Is(err, ErrNoFile) { // exchanged since it was listed
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o600, Size: info.Size(), Format: tar.FormatPAX}); err != nil {
		return err
	}
	n, err := io.Copy(archive, &watched{ctx, io.LimitReader(f, info.Size())})
	if err == nil && n < info.Size() {
		err = fmt.Errorf("%s is shorter than it was: %w", path, io.ErrUnexpectedEOF)
	}
	return err
}

// ReadTar puts the files and directories of a tar archive into the tree, for its user, modes 0600 and 0700; directories that the
// archive leaves out are made. A name that leads out of the tree, and anything but files and directories, is an error of kind Invalid.
func (t *Tree) ReadTar(ctx context.Context, r io.Reader) error {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = t.readTarEntry(ctx, header, archive)
		}
		if err != nil {
			return fmt.Errorf("cannot unpack the files: %w", err)
		}
	}
}

func (t *Tree) readTarEntry(ctx context.Context, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(header.Name)
	switch {
	case name == ".":
		return nil
	case !filepath.IsLocal(name), header.Typeflag != tar.TypeDir && header.Typeflag != tar.TypeReg:
		return datastores.Errorf(datastores.Invalid, "the archive holds something that is no file or directory of it")
	case header.Typeflag == tar.TypeDir:
		return t.makeParents(name)
	}
	if err := t.makeParents(filepath.Dir(name)); err != nil {
		return err
	}
	f, err := t.Create(name)
	if errors.Is(err, fs.ErrExist) { // of an archive before this one
		f, err = t.OpenFile(name, os.O_RDWR|os.O_TRUNC)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, &watched{ctx, content})
	return errors.Join(err, f.Close())
}

// makeParents makes a directory and those above it that an archive may leave out.
func (t *Tree) makeParents(dir string) error {
	if dir == "." {
		return nil
	}
	if info, err := t.Lstat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := t.makeParents(filepath.Dir(dir)); err != nil {
		return err
	}
	return t.MakeDir(dir)
}

// watched ends with its context.
type watched struct {
	ctx context.Context
	r   io.Reader
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}
