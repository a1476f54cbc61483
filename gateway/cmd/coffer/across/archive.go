// Package across carries backups from one installation to another in a file.
//
// The file is sealed in the format of age (age-encryption.org/v1), to a passphrase or to public keys. Within is a tar: manifest.json,
// see [Manifest], then 1.zst, 2.zst, …, what each backup of it holds, zstd-compressed. So `age -d FILE | tar x` opens it without this program.
package across

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

// Manifest tells what the file has.
type Manifest struct {
	Format  string             `json:"format"`
	Version int                `json:"version"`
	Made    time.Time          `json:"made"`
	Backups []dbext.ExportItem `json:"backups"` // the full one first, then each on the one before it
}

const (
	format       = "coffer-backup-export"
	version      = 1
	manifestName = "manifest.json"
	maxManifest  = 1 << 20
	maxBackups   = 50 // as many as may build on each other
)

func partName(n int) string { return fmt.Sprintf("%d.zst", n+1) }

// Writer makes a file. It has another name until [Writer.Finish], and whoever does not come to that calls [Writer.Abandon].
type Writer struct {
	name string
	file *os.File
	seal io.WriteCloser
	tar  *tar.Writer
	n    int
}

// Create begins a file, whose name must be free.
func Create(name string, backups []dbext.ExportItem, to ...age.Recipient) (w *Writer, err error) {
	if err := mustBeFree(name); err != nil {
		return nil, err
	}
	w = &Writer{name: name}
	if w.file, err = os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part"); err != nil { // which only its owner may read
		return nil, err
	}
	defer func() {
		if err != nil {
			w.Abandon()
		}
	}()
	if w.seal, err = age.Encrypt(w.file, to...); err != nil {
		return nil, err
	}
	w.tar = tar.NewWriter(w.seal)
	text, err := json.MarshalIndent(Manifest{Format: format, Version: version, Made: time.Now().UTC().Truncate(time.Second), Backups: backups}, "", "  ")
	if err != nil {
		return nil, err
	}
	if err = w.begin(manifestName, int64(len(text))); err == nil {
		_, err = w.tar.Write(text)
	}
	return w, err
}

func mustBeFree(name string) error {
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s is there already: remove it, or choose another name", name)
		}
		return err
	}
	return nil
}

func (w *Writer) begin(name string, size int64) error {
	return w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: time.Now(), Format: tar.FormatPAX})
}

// Part writes what the next backup holds, which must have size bytes.
func (w *Writer) Part(size int64, content io.Reader) error {
	if err := w.begin(partName(w.n), size); err != nil {
		return err
	}
	w.n++
	switch n, err := io.Copy(w.tar, content); {
	case err != nil:
		return err
	case n < size:
		return fmt.Errorf("what backup %d holds ended after %d of %d bytes: %w", w.n, n, size, io.ErrUnexpectedEOF)
	}
	return nil
}

// Finish ends the file and gives it its name.
func (w *Writer) Finish() error {
	for _, step := range []func() error{
		w.tar.Close, w.seal.Close, w.file.Sync, w.file.Close,
		func() error { return mustBeFree(w.name) },
		func() error { return os.Rename(w.file.Name(), w.name) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Abandon removes what was written, unless it was finished.
func (w *Writer) Abandon() {
	_ = w.file.Close()
	_ = os.Remove(w.file.Name())
}

// Archive is a file that is read.
type Archive struct {
	Manifest
	parts []*io.SectionReader
}

var errNoArchive = errors.New("it is no file that `coffer backup export` has made")

// Open reads a file of size bytes as far as its manifest, and finds its parts. What is read of it later was checked, too.
func Open(file io.ReaderAt, size int64, as ...age.Identity) (*Archive, error) {
	begin := make([]byte, len(magic))
	if _, err := file.ReadAt(begin, 0); err != nil || string(begin) != magic {
		return nil, fmt.Errorf("%w: it is not sealed as one", errNoArchive)
	}
	plain, plainSize, err := age.DecryptReaderAt(file, size, as...)
	if err != nil {
		return nil, opened(err)
	}
	whole := io.NewSectionReader(plain, 0, plainSize)
	r := tar.NewReader(whole)
	a := &Archive{}
	if err := a.readManifest(r); err != nil {
		return nil, err
	}
	for n := range a.Backups {
		header, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("the file is damaged: what backup %d of %d holds is not there: %w", n+1, len(a.Backups), err)
		}
		if header.Name != partName(n) {
			return nil, fmt.Errorf("the file is damaged: it has %q in place of %s", header.Name, partName(n))
		}
		at, err := whole.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		a.parts = append(a.parts, io.NewSectionReader(plain, at, header.Size))
	}
	return a, nil
}

// magic is how a file of age begins.
const magic = "age-encryption.org/"

func (a *Archive) readManifest(r *tar.Reader) error {
	header, err := r.Next()
	if err != nil || header.Name != manifestName {
		return fmt.Errorf("%w: there is no manifest in it", errNoArchive)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return damaged(err)
	}
	if err := json.Unmarshal(text, &a.Manifest); err != nil || a.Format != format {
		return fmt.Errorf("%w: its manifest is another one's", errNoArchive)
	}
	if a.Version != version {
		return fmt.Errorf("the file is of version %d of the format, and this program reads version %d: take the release of it that made the file", a.Version, version)
	}
	if len(a.Backups) == 0 || len(a.Backups) > maxBackups {
		return fmt.Errorf("the file is damaged: it has %d backups", len(a.Backups))
	}
	return nil
}

// Part returns what the n-th backup holds from its beginning, and its size. An error of its reader says that the file is damaged.
func (a *Archive) Part(n int) (io.Reader, int64) {
	size := a.parts[n].Size()
	return &checked{io.NewSectionReader(a.parts[n], 0, size)}, size
}

// checked says of an error that the file is damaged.
type checked struct{ r io.Reader }

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		err = damaged(err)
	}
	return n, err
}

func damaged(err error) error { return fmt.Errorf("the file is damaged: %w", err) }

// opened says what is wrong with a file that does not open.
func opened(err error) error {
	var none *age.NoIdentityMatchError
	if !errors.As(err, &none) {
		return fmt.Errorf("the file is damaged, or was cut: %w", err)
	}
	for _, kind := range none.StanzaTypes {
		if kind == "scrypt" {
			return fmt.Errorf("the file does not open: it is sealed with a passphrase, and this is not the one")
		}
	}
	return fmt.Errorf("the file does not open: it is sealed to a public key, and the identity that was given is not that key's")
}
