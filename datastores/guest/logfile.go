package guest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// fileIdentity tells one log file from the next of the same name: a rotated one has another inode, one that was truncated
// and written again begins with something else.
type fileIdentity struct {
	Inode uint64 `json:"inode"`
	// Head is how many of the first bytes Digest is of. A hash, since a log may hold what is nobody else's business.
	Head   int64  `json:"head"`
	Digest string `json:"digest"`
}

const maxHead = 1024

// logFile is a log's file at one moment.
type logFile struct {
	size     int64
	identity fileIdentity // with as many first bytes as the one that it is compared to; zero: there is no file
}

// continues reports whether the file is the one of which e knows, and has not become shorter.
func (f logFile) continues(e logEntry) bool { return f.identity == e.Identity && f.size >= e.Published }

// lookAt inspects the log at path; one that is not there is empty.
func (g *Guest) lookAt(path string, known fileIdentity) (logFile, error) {
	f, err := g.openLog(path)
	if errors.Is(err, os.ErrNotExist) {
		return logFile{}, nil
	}
	if err != nil {
		return logFile{}, err
	}
	defer func() { _ = f.Close() }()
	return inspectLog(f, known)
}

func inspectLog(f *os.File, known fileIdentity) (logFile, error) {
	info, err := f.Stat()
	if err != nil {
		return logFile{}, err
	}
	id, err := identify(f, known.Head)
	return logFile{size: info.Size(), identity: id}, err
}

// identify identifies a file by at most the first bytes of those that are told.
func identify(f *os.File, first int64) (fileIdentity, error) {
	info, err := f.Stat()
	if err != nil {
		return fileIdentity{}, err
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.NewSectionReader(f, 0, min(first, maxHead)))
	if err != nil {
		return fileIdentity{}, fmt.Errorf("cannot read a log: %w", err)
	}
	id := fileIdentity{Head: n, Digest: hex.EncodeToString(hash.Sum(nil))}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.Inode = st.Ino
	}
	return id, nil
}

// openLog opens a log for reading. It lies where the server's own user may write: a link that was planted there must not
// lead the guest, who may read everything, to another file.
func (g *Guest) openLog(path string) (*os.File, error) {
	dir, name := g.placeOf(path)
	tree, err := volume.At(dir).Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = tree.Close() }()
	return tree.Open(name)
}

// placeOf splits the path of a log into the directory from which it is reached, and its name there.
func (g *Guest) placeOf(path string) (dir, name string) {
	for _, dir := range []string{g.config.Dir, g.served.Load().env.DataDir} {
		if name, ok := strings.CutPrefix(path, dir+"/"); ok {
			return dir, name
		}
	}
	return filepath.Split(path)
}

// trimLogs bounds the logs that are always on: tenants can have the server write there as much as they like. Logs that they turn on
// themselves are theirs.
func (g *Guest) trimLogs() {
	m, ok := g.served.Load().manager.(datastores.Logs)
	if !ok {
		return
	}
	for _, l := range m.Logs() {
		if l.Type != datastores.SystemLog {
			continue
		}
		dir, name := g.placeOf(m.LogFile(l.Name))
		if err := volume.At(dir).Trim(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			g.log.Warn("a log of the server grows without bounds", "log", l.Name, "err", err)
		}
	}
}
