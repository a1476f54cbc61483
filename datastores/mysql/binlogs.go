package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores/volume"
)

// binlogShare: older binary logs go when all of them take more than a quarter of the volume. The newest stays whatever it takes, for
// a transaction is never spread over two; so do those that a replica reads. A replica that is away for longer must be made anew.
// What a replica has received and not applied takes as much at most.
const binlogShare = 4

// mostBinlog is the size at which a binary log is followed by the next: the share of the smallest volume is some logs.
const (
	mostBinlog = 100 << 20
	logsAShare = 4
)

// binlogSpace is in bytes; 0: the volume's size is not known.
func (m *Manager) binlogSpace() int64 { return int64(m.volumeSize()) / binlogShare }

// binlogSize is what max_binlog_size is, in whole blocks of 4096 bytes.
func (m *Manager) binlogSize() int64 {
	if space := m.binlogSpace(); space > 0 {
		return max(min(mostBinlog, space/logsAShare), 1<<20) &^ 4095
	}
	return mostBinlog
}

// boundBinlogs takes the oldest logs away when all take more than space.
func (m *Manager) boundBinlogs(ctx context.Context, db *sql.DB, space int64) error {
	if space == 0 {
		return nil
	}
	rows, err := allRows(ctx, db, "SHOW BINARY LOGS")
	if err != nil {
		return failed(err, "cannot list the binary logs")
	}
	var logs []binlog
	for _, row := range rows {
		size, err := strconv.ParseInt(row["File_size"], 10, 64)
		if err != nil {
			return failed(err, "cannot list the binary logs")
		}
		logs = append(logs, binlog{row["Log_name"], size})
	}
	first := firstWithin(logs, space)
	if first == 0 {
		return nil
	}
	_, err = db.ExecContext(ctx, "PURGE BINARY LOGS TO "+text(logs[first].name))
	if is(err, errLogInUse) {
		return nil
	}
	return failed(err, "cannot purge the binary logs")
}

// binlog is a binary log, in a list of which the newest is the last.
type binlog struct {
	name string
	size int64
}

// firstWithin is where those begin that take no more than space, the newest in any case.
func firstWithin(logs []binlog, space int64) int {
	first := len(logs)
	for total := int64(0); first > 0; first-- {
		if total += logs[first-1].size; total > space && first < len(logs) {
			break
		}
	}
	return first
}

// removeBinlogs takes the oldest logs away as boundBinlogs does, of a server that does not run because its volume is full: one that waits
// for space does not purge. A replica that has not read them must be made anew. The files go first, for without space there is none for
// another index; what that names in vain goes the next time.
func (m *Manager) removeBinlogs() error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	logs, err := readBinlogs(tree)
	if err != nil {
		return err
	}
	first := firstWithin(logs, m.binlogSpace())
	for _, l := range logs[:first] {
		for _, suffix := range []string{"", ".idx"} {
			if err := tree.Remove(dataDir + "/" + l.name + suffix); err != nil {
				return err
			}
		}
	}
	for first < len(logs)-1 && logs[first].size == 0 {
		first++
	}
	if first == 0 {
		return nil
	}
	m.env.Log.Warn("the volume is full: the oldest binary logs are removed", "logs", first)
	var index strings.Builder
	for _, l := range logs[first:] {
		index.WriteString("./" + l.name + "\n")
	}
	return tree.WriteFile(binlogIndex, []byte(index.String()))
}

// readBinlogs reads which logs there are from the index; one that is missing has no size.
func readBinlogs(tree *volume.Tree) (logs []binlog, err error) {
	index, err := tree.ReadFile(binlogIndex, maxBinlogIndex)
	if err != nil {
		return nil, err
	}
	for line := range strings.FieldsSeq(string(index)) {
		l := binlog{name: path.Base(line)}
		if !binlogName.MatchString(l.name) {
			return nil, fmt.Errorf("%q is no name of a binary log", line)
		}
		if info, err := tree.Lstat(dataDir + "/" + l.name); err == nil {
			l.size = info.Size()
		}
		logs = append(logs, l)
	}
	return logs, nil
}

// removable reports whether removeBinlogs would take any away.
func (m *Manager) removable() bool {
	tree, err := m.data.Open()
	if err != nil {
		return false
	}
	defer func() { _ = tree.Close() }()
	logs, err := readBinlogs(tree)
	return err == nil && firstWithin(logs, m.binlogSpace()) > 0
}

// logFile reports whether a file of the data directory is a log of changes, which no backup holds.
func logFile(name string) bool {
	return strings.HasPrefix(name, "binlog.") || strings.HasPrefix(name, "relay.")
}

// sizes are what data and logs of changes take on the volume, in bytes.
func (m *Manager) sizes() (data, logs int64) {
	tree, err := m.data.Open()
	if err != nil {
		return 0, 0
	}
	defer func() { _ = tree.Close() }()
	_ = tree.Walk(dataDir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // a file that has just gone is none
		}
		info, err := d.Info()
		switch {
		case err != nil:
		case logFile(d.Name()):
			logs += info.Size()
		default:
			data += info.Size()
		}
		return nil
	})
	return data, logs
}
