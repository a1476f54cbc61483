package agent

import (
	"bytes"
	"encoding/json"
	"slices"
)

// How much the journal keeps. The newest entries are kept whatever their age: etcd may be restored from an old backup
// and bring back what was answered long ago. A result that the gateway does not have is always kept.
const (
	keepEntries = 1000
	keepBytes   = 4 << 20
	keepRows    = 1000    // whatever becomes of their entries; the chain goes on
	minCompact  = 1 << 20 // a smaller file is left alone
)

func (j *journal) crowded() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size > j.compactAt
}

// compact writes the file anew, durably, with the entries that are kept. It must be called with syncing held. When it
// fails everything is as before, unless the disk lost the new name: then the next line's sync fails as well.
func (j *journal) compact() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	kept := j.kept()
	rows := j.chain.trimmed(keepRows)
	entries := make(map[string]*entry, len(kept))
	for _, id := range kept {
		entries[id] = j.entries[id]
	}
	data, err := encode(entries, kept, rows)
	if err != nil {
		return err
	}
	f, err := replaceFile(j.path, data)
	if err != nil {
		return err
	}
	old := j.file
	j.file, j.size, j.synced = f, int64(len(data)), int64(len(data))
	j.compactAt = max(minCompact, 2*j.size)
	j.entries, j.order, j.chain = entries, kept, rows
	return old.Close()
}

// kept lists the ids of the entries to keep, oldest first.
func (j *journal) kept() []string {
	var ids []string
	bytes := 0
	for _, id := range slices.Backward(j.order) {
		e := j.entries[id]
		due := e.finish.Result != nil && !e.sent
		if due || len(ids) < keepEntries && bytes+e.bytes <= keepBytes {
			ids = append(ids, id)
			bytes += e.bytes
		}
	}
	slices.Reverse(ids)
	return ids
}

func encode(entries map[string]*entry, ids []string, rows chain) ([]byte, error) {
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	for _, r := range rows.records(entries) {
		if err := enc.Encode(r); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		e := entries[id]
		var err error
		if !e.accept.At.IsZero() {
			err = enc.Encode(e.accept)
		}
		if err == nil && e.finish.Result != nil {
			err = enc.Encode(e.finish)
		}
		if err == nil && e.sent {
			err = enc.Encode(record{Op: opSent, ID: id})
		}
		if err != nil {
			return nil, err
		}
	}
	return data.Bytes(), nil
}
