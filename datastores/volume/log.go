package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// What Trim leaves of a log.
const (
	mostLog = 16 << 20
	keptLog = 256 << 10
)

// Append opens a log for writing at its end, and makes it when it is missing. What has its name and is no file is taken away.
func (d Dir) Append(name string) (f *os.File, err error) {
	err = d.with(func(t *Tree) error {
		f, err = t.OpenFile(name, os.O_WRONLY|syscall.O_APPEND)
		if errors.Is(err, ErrNoFile) {
			if err = t.Remove(name); err == nil {
				err = fs.ErrNotExist
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			f, err = t.create(name, os.O_WRONLY|syscall.O_APPEND)
		}
		return err
	})
	return f, err
}

// Trim cuts a log of more than 16 MiB to its last lines, 256 KiB at most, while a server goes on writing at its end. A log that is not
// there, or is no file, is left alone.
func (d Dir) Trim(name string) error {
	return d.with(func(t *Tree) error {
		f, err := t.OpenFile(name, os.O_RDWR|syscall.O_APPEND)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoFile) {
			return nil
		}
		if err == nil {
			err = errors.Join(trim(f), f.Close())
		}
		if err != nil {
			return fmt.Errorf("cannot cut the log %s: %w", name, err)
		}
		return nil
	})
}

func trim(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() <= mostLog {
		return err
	}
	kept := make([]byte, keptLog)
	n, err := f.ReadAt(kept, info.Size()-keptLog)
	if n < len(kept) {
		return err // it was cut just now
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, whole, cut := bytes.Cut(kept, []byte("\n")); cut {
		kept = whole
	}
	_, err = f.Write(kept)
	return err
}
