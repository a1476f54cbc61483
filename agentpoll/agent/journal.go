package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// record is one line of the journal.
type record struct {
	Op     op                `json:"op"`
	ID     string            `json:"id"`
	Method string            `json:"method,omitempty"`
	At     time.Time         `json:"at,omitzero"`
	Result *agentpoll.Result `json:"result,omitempty"`
	Row    *agentpoll.Row    `json:"row,omitempty"` // of opFinish, opRow; of opChain the last that is not kept
}

type op string

const (
	opAccept op = "accept" // about to be run
	opFinish op = "finish" // has ended, with Result
	opSent   op = "sent"   // the gateway has taken the result
	opChain  op = "chain"  // rows behind Row follow, of the chain that ID names
	opRow    op = "row"    // of a command of which nothing else is kept
)

// entry is what the journal knows of a command.
type entry struct {
	accept, finish record // zero when there is none
	sent           bool
	bytes          int
}

// journal remembers which commands that change something were begun, and how they ended: JSON lines, never with
// arguments. Lines that do not decode, such as one torn by a crash, are as if they had not been written. Since a
// command is synced before it is run, everything that finished before it is on disk then.
type journal struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	file    *os.File
	size    int64 // where the next line goes; what a failed write left behind it is overwritten
	entries map[string]*entry
	order   []string // ids, oldest first
	chain   chain
	// compactAt is the size at which the file is written anew, see compact.
	compactAt int64

	syncing sync.Mutex // taken before mu
	synced  int64      // how much of the file is on disk; guarded by syncing
}

func openJournal(dir string, log *slog.Logger) (*journal, error) {
	j := &journal{path: filepath.Join(dir, "journal"), log: log, entries: map[string]*entry{}, compactAt: minCompact}
	if err := j.open(); err != nil {
		return nil, fmt.Errorf("cannot open the agent's journal: %w", err)
	}
	data, err := os.ReadFile(j.path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the agent's journal: %w", err)
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	for line := range bytes.Lines(data[:end]) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil || r.ID == "" {
			log.Warn("skipped a damaged line of the journal", "path", j.path, "bytes", len(line))
			continue
		}
		j.apply(r, len(line))
	}
	j.size, j.synced = int64(end), int64(end)
	return j, nil
}

func (j *journal) open() (err error) {
	if j.file, err = os.OpenFile(j.path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	return syncDir(filepath.Dir(j.path))
}

// apply takes a line into memory.
func (j *journal) apply(r record, size int) {
	if j.chain.apply(r); r.Op == opChain || r.Op == opRow {
		return
	}
	e := j.entries[r.ID]
	if e == nil {
		e = &entry{}
		j.entries[r.ID] = e
		j.order = append(j.order, r.ID)
	}
	switch r.Op {
	case opAccept:
		e.accept = r
	case opFinish:
		e.finish = r
	case opSent:
		e.sent = true
	}
	e.bytes += size
}

// accept notes, durably, that a command is about to be run. It returns when it was first accepted, and whether that
// was before.
func (j *journal) accept(id, method string) (at time.Time, repeated bool, err error) {
	if at, repeated = j.accepted(id); repeated {
		return at, true, nil
	}
	at = time.Now().UTC()
	pos, err := j.append(record{Op: opAccept, ID: id, Method: method, At: at})
	if err == nil {
		err = j.sync(pos)
	}
	return at, false, err
}

func (j *journal) accepted(id string) (time.Time, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.entries[id]; e != nil && !e.accept.At.IsZero() {
		return e.accept.At, true
	}
	return time.Time{}, false
}

// finish notes how a command ended, with its row, and returns the result as it is to be sent. That must not happen before sync was called
// with pos.
func (j *journal) finish(row agentpoll.Row, result agentpoll.Result) (marked agentpoll.Result, pos int64, err error) {
	r := record{Op: opFinish, ID: row.ID, At: time.Now().UTC(), Result: &result, Row: &row}
	row.At = r.At
	if pos, err = j.append(r); err == nil {
		result, _ = j.finished(row.ID)
	}
	return result, pos, err
}

// sent notes that the gateway has taken the result. It is not synced: a result that is sent twice does no harm.
func (j *journal) sent(id string) error {
	_, err := j.append(record{Op: opSent, ID: id})
	return err
}

// finished returns the result of a command that has ended.
func (j *journal) finished(id string) (agentpoll.Result, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.entries[id]; e != nil && e.finish.Result != nil {
		result := *e.finish.Result
		result.Audit = j.chain.mark(e.finish.Row)
		return result, true
	}
	return agentpoll.Result{}, false
}

// unsent lists the commands that have ended and whose result the gateway may not have, oldest first.
func (j *journal) unsent() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var ids []string
	for _, id := range j.order {
		if e := j.entries[id]; e.finish.Result != nil && !e.sent {
			ids = append(ids, id)
		}
	}
	return ids
}

// append writes one line, and before the first row the name of its chain. It returns the position behind it.
func (j *journal) append(r record) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	records := []record{r}
	if r.Row != nil {
		records = j.chain.link(r)
	}
	var lines []byte
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return 0, fmt.Errorf("cannot journal command %s: %w", r.ID, err)
		}
		lines = append(append(lines, line...), '\n')
	}
	if _, err := j.file.WriteAt(lines, j.size); err != nil {
		return 0, fmt.Errorf("cannot journal command %s: %w", r.ID, err)
	}
	j.size += int64(len(lines))
	for _, r := range records {
		j.apply(r, len(lines))
	}
	return j.size, nil
}

// sync makes everything before pos durable. Whoever comes while another syncs finds it done.
func (j *journal) sync(pos int64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced >= pos {
		return nil
	}
	if j.crowded() {
		err := j.compact()
		if err == nil {
			return nil
		}
		j.log.Warn("cannot compact the journal; it grows", "err", err)
	}
	j.mu.Lock()
	size := j.size
	j.mu.Unlock()
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("cannot sync the journal: %w", err)
	}
	j.synced = size
	return nil
}

func (j *journal) close() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	return j.file.Close()
}
