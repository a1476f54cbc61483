package datastoretest

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// ShippedLog is a copy of a server's log beside it, as a gateway has it. Its zero value with a Manager begins where the log ends.
type ShippedLog struct {
	Manager datastores.PointInTime
	At      string // position up to which it is shipped
	Parts   []datastores.LogPart
}

// Ship copies the log as a guest does, in parts of at most so many bytes, until it is complete. It reads each part twice, which must be the same.
func (l *ShippedLog) Ship(t *testing.T, most int64) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for {
		kept, err := l.Manager.KeepLog(t.Context(), l.At)
		must(err)
		l.At = kept
		var data, again bytes.Buffer
		reply, err := l.Manager.ReadLog(t.Context(), datastores.LogRequest{After: l.At, Most: most, Output: &data})
		must(err)
		_, err = l.Manager.ReadLog(t.Context(), datastores.LogRequest{After: l.At, To: reply.To, Most: most, Output: &again})
		must(err)
		if !bytes.Equal(data.Bytes(), again.Bytes()) || int64(data.Len()) > most {
			t.Fatalf("%d bytes, and then %d others", data.Len(), again.Len())
		}
		if reply.To != l.At {
			l.Parts = append(l.Parts, datastores.LogPart{After: l.At, To: reply.To, At: reply.At, Data: data.Bytes()})
			l.At = reply.To
		}
		if !reply.At.IsZero() {
			return
		}
	}
}

// Replay is the copy from a part on, as a restore reads it.
func (l *ShippedLog) Replay(from int, at time.Time, position string) *datastores.LogReplay {
	return &datastores.LogReplay{Time: at, Position: position, Next: func(context.Context) (datastores.LogPart, error) {
		if from == len(l.Parts) {
			return datastores.LogPart{}, io.EOF
		}
		from++
		return l.Parts[from-1], nil
	}}
}
