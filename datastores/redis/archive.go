package redis

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"

	"github.com/cofferdb/coffer/datastores"
)

// A backup is a tar archive. Its first entry is the users; then come an RDB snapshot, whose length nobody knows in
// advance, in parts that make the file one after the other (`tar -xOf backup --wildcards 'dump.rdb/*'`), or the files of
// an append-only log.
const (
	usersEntry = "users.json"
	dumpPrefix = "dump.rdb/"
	partSize   = 1 << 20
	maxUsers   = 64 << 20 // bytes of the first entry, and of the file that the server has
)

// logName are the names of an append-only log's files, with their number and kind.
var logName = regexp.MustCompile(`^appendonly\.aof\.([1-9][0-9]{0,17})\.(base\.rdb|base\.aof|incr\.aof)$`)

// archiver writes a backup.
type archiver struct{ tar *tar.Writer }

func (a archiver) users(list []account) error {
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return a.entry(usersEntry, int64(len(b)), bytes.NewReader(b))
}

// entry writes a file of that many bytes.
func (a archiver) entry(name string, size int64, r io.Reader) error {
	if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: size, Format: tar.FormatPAX}); err != nil {
		return err
	}
	n, err := io.Copy(a.tar, io.LimitReader(r, size))
	if err == nil && n < size {
		err = fmt.Errorf("%s is shorter than it was: %w", name, io.ErrUnexpectedEOF)
	}
	return err
}

// parts writes a file of unknown length.
func (a archiver) parts(prefix string, r io.Reader) error {
	part := make([]byte, partSize)
	for i := 1; ; i++ {
		n, err := io.ReadFull(r, part)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if n > 0 {
			if err := a.entry(fmt.Sprintf("%s%010d", prefix, i), int64(n), bytes.NewReader(part[:n])); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// readUsersEntry reads the first entry.
func readUsersEntry(t *tar.Reader) ([]account, error) {
	h, err := t.Next()
	if err != nil {
		return nil, err
	}
	if h.Name != usersEntry || h.Size > maxUsers {
		return nil, fmt.Errorf("the backup does not begin with its users but with %q", h.Name)
	}
	var list []account
	if err := json.NewDecoder(t).Decode(&list); err != nil {
		return nil, fmt.Errorf("the users of the backup: %w", err)
	}
	for _, a := range list {
		if a.Name != rootUser && !datastores.Fits(userPattern, a.Name) || !goodHashes(a.Hashes) {
			return nil, fmt.Errorf("the backup has a user %q that cannot be", a.Name)
		}
	}
	return list, nil
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

func goodHashes(hashes []string) bool {
	for _, h := range hashes {
		if !sha256Hex.MatchString(h) {
			return false
		}
	}
	return true
}
