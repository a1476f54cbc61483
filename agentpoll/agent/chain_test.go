package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll"
)

// rowsOf reads all that the journal answers, and follows the chain.
func rowsOf(t *testing.T, j *journal) []agentpoll.Row {
	t.Helper()
	var rows []agentpoll.Row
	link, next := []byte(nil), int64(0)
	for after := int64(0); ; {
		raw, err := j.audit(fmt.Appendf(nil, `{"after":%d}`, after))
		if err != nil {
			t.Fatal(err)
		}
		var reply agentpoll.AuditReply
		if err := json.Unmarshal(raw, &reply); err != nil {
			t.Fatal(err)
		}
		if after == 0 {
			link, next = reply.Floor.Link, reply.Floor.Seq+1
		}
		for _, row := range reply.Rows {
			if row.Seq != next || !bytes.Equal(row.Link, row.LinkedTo(link)) {
				t.Fatalf("row %d, where %d should be, is not linked to the one before it", row.Seq, next)
			}
			after, link, next = row.Seq, row.Link, row.Seq+1
		}
		if rows = append(rows, reply.Rows...); !reply.More {
			return rows
		}
	}
}

// TestChainCutAnywhere kills the agent anywhere between a command and its row: what is left verifies, and goes on.
func TestChainCutAnywhere(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir)
	for n := range 5 {
		id := fmt.Sprint("c", n)
		if _, _, err := j.accept(id, "create"); err != nil {
			t.Fatal(err)
		}
		result, _, err := j.finish(agentpoll.Row{ID: id, Method: "create"}, agentpoll.Result{})
		if err != nil || result.Audit == nil || result.Audit.Seq != int64(n+1) {
			t.Fatalf("%s: %+v, %v", id, result, err)
		}
	}
	_ = j.close()
	whole, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "journal"), whole[:rapid.IntRange(0, len(whole)).Draw(rt, "bytes")])
		j := mustOpen(t, dir)
		before := len(rowsOf(t, j))
		result, _, err := j.finish(agentpoll.Row{ID: "after", Method: "create"}, agentpoll.Result{})
		_ = j.close()
		j = mustOpen(t, dir)
		rows := rowsOf(t, j)
		_ = j.close()
		if err != nil || len(rows) != before+1 || !bytes.Equal(rows[before].Link, result.Audit.Link) {
			rt.Errorf("%d rows of %d before: %v", len(rows), before, err)
		}
	})
}

// TestChainOutlivesCompaction: entries go, the newest rows stay, and the chain goes on behind a floor.
func TestChainOutlivesCompaction(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir)
	value := json.RawMessage(fmt.Sprintf("%q", bytes.Repeat([]byte("x"), 10_000)))
	var last agentpoll.Result
	for n := range keepRows + 300 {
		id := fmt.Sprint("c", n)
		_, err := j.append(record{Op: opAccept, ID: id, Method: "create"})
		var pos int64
		if err == nil {
			last, pos, err = j.finish(agentpoll.Row{ID: id, Method: "create"}, agentpoll.Result{Value: value})
		}
		if err == nil {
			err = j.sent(id)
		}
		if err == nil && n%100 == 0 {
			err = j.sync(pos)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	j.syncing.Lock()
	err := j.compact()
	j.syncing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	entries := len(j.entries)
	_ = j.close()
	j = mustOpen(t, dir)
	defer func() { _ = j.close() }()
	rows := rowsOf(t, j)
	if len(rows) != keepRows || entries >= keepRows || !bytes.Equal(rows[len(rows)-1].Link, last.Audit.Link) {
		t.Errorf("%d rows and %d entries, the last %d", len(rows), entries, rows[len(rows)-1].Seq)
	}
	if marked, _ := j.finished(fmt.Sprint("c", keepRows+299)); marked.Audit == nil || marked.Audit.Seq != last.Audit.Seq {
		t.Errorf("the last result is sent again as %+v", marked.Audit)
	}
}
