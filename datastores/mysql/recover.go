package mysql

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
)

// A server that was killed finds transactions that are prepared, and looks them up in its last binary log: what is there is
// committed, for its client or a replica may have it, and the rest is undone. It does not look into a log that was closed well. A
// server that was killed after it closed a log and before it had the next, as one does that waits for space, has such a log and
// such transactions, and does not start. What it offers itself, to commit or to undo all of them, is wrong for some.

// undecided is in what such a server says.
const undecided = "--tc-heuristic-recover"

// isUndecided reports whether the server did not start because it does not look transactions up.
func isUndecided(err error) bool {
	failure := (*service.Failure)(nil)
	return errors.As(err, &failure) && strings.Contains(failure.Words, undecided)
}

// The format of a binary log: its first event, which describes it, comes behind four bytes; a flag of it says that the log is not closed.
const (
	binlogMagic      = "\xfebin"
	eventTypeAt      = 4 + 4
	eventFlagsAt     = 4 + 17
	descriptionEvent = 15
	flagInUse        = 1
)

const (
	binlogIndex    = dataDir + "/binlog.index"
	maxBinlogIndex = 4 << 20
)

var binlogName = regexp.MustCompile(`^binlog\.\d+$`)

// reopenBinlog marks the last binary log of a server that does not run as not closed, so that the server looks into it.
func (m *Manager) reopenBinlog() error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	index, err := tree.ReadFile(binlogIndex, maxBinlogIndex)
	if err != nil {
		return err
	}
	lines := strings.Fields(string(index))
	if len(lines) == 0 {
		return errors.New("there is no binary log")
	}
	name := filepath.Base(lines[len(lines)-1])
	if !binlogName.MatchString(name) {
		return fmt.Errorf("%q is no name of a binary log", name)
	}
	f, err := tree.OpenFile(dataDir+"/"+name, os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, eventFlagsAt+1)
	if _, err := f.ReadAt(head, 0); err != nil {
		return fmt.Errorf("cannot read %s: %w", name, err)
	}
	if string(head[:4]) != binlogMagic || head[eventTypeAt] != descriptionEvent {
		return fmt.Errorf("%s is no binary log", name)
	}
	if _, err := f.WriteAt([]byte{head[eventFlagsAt] | flagInUse}, eventFlagsAt); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return f.Sync()
}
