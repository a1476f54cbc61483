package postgresql

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// A tar of pg_basebackup holds what the guest's own backups do, and may hold more: settings, which nothing reads, and what would have the
// server look elsewhere when it starts.

// maxText is how much is read of a file of the data directory that a person may read.
const maxText = 64 << 10

// checkMade looks at an unpacked chain, and takes away what would lead the server astray. What is made by somebody else need not be a backup.
func (m *Manager) checkMade(made *volume.Tree) error {
	version, err := made.ReadFile("PG_VERSION", maxText)
	if err != nil {
		return notWhole("PG_VERSION", err)
	}
	if is := strings.TrimSpace(string(version)); is != strconv.Itoa(m.options.Version) {
		return datastores.Errorf(datastores.Invalid, "the backup is of PostgreSQL %s, and this server is %d: restore it to that version and upgrade then", word(is), m.options.Version)
	}
	if info, err := made.Lstat("tablespace_map"); err == nil && info.Size() > 0 {
		return datastores.Errorf(datastores.Invalid, "there are tablespaces outside of the data directory, which cannot be restored: load a dump instead")
	}
	label, err := made.ReadFile("backup_label", maxText)
	if err != nil {
		return notWhole("backup_label", err)
	}
	first := firstSegment.FindSubmatch(label)
	if first == nil {
		return notWhole("backup_label", errors.New("it does not say where the log begins"))
	}
	log, err := made.List("pg_wal")
	if err != nil {
		return notWhole("pg_wal", err)
	}
	if !slices.ContainsFunc(log, func(f fs.DirEntry) bool { return len(f.Name()) == 24 && f.Name()[8:] == string(first[1]) }) {
		return datastores.Errorf(datastores.Invalid, "the backup has not the log that makes it whole: pg_basebackup has it in the same tar with -X fetch, and in pg_wal.tar otherwise")
	}
	for _, name := range []string{"tablespace_map", "standby.signal", "postmaster.pid", "postmaster.opts"} {
		if err := made.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// firstSegment is how a label names the segment of the log with which the replay begins, the timeline, which may be an earlier one, apart.
var firstSegment = regexp.MustCompile(`(?m)^START WAL LOCATION: [0-9A-F]+/[0-9A-F]+ \(file [0-9A-F]{8}([0-9A-F]{16})\)$`)

func notWhole(file string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it is not there")
	}
	return datastores.Errorf(datastores.Invalid, "it is no backup of a server's data directory: %s: %v", file, err)
}

// word is what a person may be shown of what a backup says.
func word(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, s[:min(len(s), 60)])
}
