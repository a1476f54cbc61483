package service

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
	"syscall"

	"github.com/cofferdb/coffer/datastores"
)

const halfMade = ".making"

// MakeTree makes the directory name below dir wholly or not at all. fill gets the path of an empty directory that belongs to uid and gid
// (-1: the guest's own) and fills it; when it has succeeded, and everything is on the disk, the directory takes its name. A
// directory that has its name already is whole, so fill is not called. What an earlier try has left half made is removed
// first. dir must be one directory above what the database's user may write to, or be the guest's own.
func MakeTree(dir, name string, uid, gid int, fill func(path string) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", name, err)
	}
	defer func() { _ = root.Close() }()
	if _, err := root.Lstat(name); err == nil {
		return nil
	}
	making := name + halfMade
	if err := root.RemoveAll(making); err != nil {
		return fmt.Errorf("cannot remove what is left of %s: %w", name, err)
	}
	if err := MakeDir(dir, making, uid, gid); err != nil {
		return err
	}
	if err := fill(filepath.Join(dir, making)); err != nil {
		return err
	}
	err = SyncTree(root, making)
	if err == nil {
		err = root.Rename(making, name)
	}
	if err == nil {
		err = Sync(root, ".")
	}
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", name, err)
	}
	return nil
}

// WriteTar writes the regular files and the directories below dir to w as a tar archive, by names relative to dir. Links, sockets and
// devices are left out. A file that shrinks meanwhile is an error. wrote, which may be nil, is told of every n bytes.
func WriteTar(ctx context.Context, w io.Writer, dir string, wrote func(n int)) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	archive := tar.NewWriter(w)
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		switch {
		case err != nil || path == ".":
			return err
		case d.IsDir():
			return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: 0o700})
		case d.Type().IsRegular():
			return writeTarFile(ctx, archive, root, path, wrote)
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
func CopyTar(ctx context.Context, to *tar.Writer, prefix string, from io.Reader, wrote func(n int)) error {
	source := &ending{r: &watched{ctx, from, wrote}}
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

func writeTarFile(ctx context.Context, archive *tar.Writer, root *os.Root, path string, wrote func(n int)) error {
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() { // exchanged since it was listed
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o600, Size: info.Size(), Format: tar.FormatPAX}); err != nil {
		return err
	}
	n, err := io.Copy(archive, &watched{ctx, io.LimitReader(f, info.Size()), wrote})
	if err == nil && n < info.Size() {
		err = fmt.Errorf("%s is shorter than it was: %w", path, io.ErrUnexpectedEOF)
	}
	return err
}

// ReadTar puts the files and directories of a tar archive below dir, for uid and gid (-1: the guest's own), modes 0600 and
// 0700; directories that the archive leaves out are made. A name that leads out of dir, and anything but files and directories, is an error of kind Invalid.
func ReadTar(ctx context.Context, r io.Reader, dir string, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = readTarEntry(ctx, root, header, archive, uid, gid)
		}
		if err != nil {
			return fmt.Errorf("cannot unpack the files: %w", err)
		}
	}
}

func readTarEntry(ctx context.Context, root *os.Root, header *tar.Header, content io.Reader, uid, gid int) error {
	name := filepath.Clean(header.Name)
	switch {
	case name == ".":
		return nil
	case !filepath.IsLocal(name), header.Typeflag != tar.TypeDir && header.Typeflag != tar.TypeReg:
		return datastores.Errorf(datastores.Invalid, "the archive holds something that is no file or directory of it")
	case header.Typeflag == tar.TypeDir:
		return makeParents(root, name, uid, gid)
	}
	if err := makeParents(root, filepath.Dir(name), uid, gid); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, &watched{ctx, content, nil})
	if err == nil && uid >= 0 {
		err = f.Chown(uid, gid)
	}
	return errors.Join(err, f.Close())
}

// makeParents makes a directory and those above it that an archive may leave out.
func makeParents(root *os.Root, dir string, uid, gid int) error {
	if dir == "." {
		return nil
	}
	if info, err := root.Lstat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := makeParents(root, filepath.Dir(dir), uid, gid); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if uid < 0 {
		return nil
	}
	return root.Lchown(dir, uid, gid)
}

// watched ends with its context, and tells of what is read.
type watched struct {
	ctx  context.Context
	r    io.Reader
	read func(n int)
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.r.Read(p)
	if w.read != nil && n > 0 {
		w.read(n)
	}
	return n, err
}
