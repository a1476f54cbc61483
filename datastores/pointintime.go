package datastores

import (
	"context"
	"io"
	"time"
)

// PointInTime is implemented by a manager whose server writes every change into a log that can be kept beside its backups. A backup
// by a strategy that [BackupStrategy.Replays] the log, and the log since, make a server as it was at any moment.
//
// The log is a sequence of bytes. A position in it is a text of the engine's own, in the words in which its users know it, of at most
// [MaxPosition] bytes. The server's clock is the measure of time.
//
// Its methods run in turn with all others. An error of kind Conflict says for good that the log after the position is not there any
// more, or that the server has begun another history: by a promotion, a restore, an upgrade, or because it had to give log up. A server
// that takes no writes, as a replica, ships nothing: that is an error of another kind.
type PointInTime interface {
	// KeepLog has the server keep its log from a position on, and no longer what lies before, up to a share of the volume: what is
	// beyond that the server may give up. With "" it begins where the log ends now. It returns the position.
	KeepLog(ctx context.Context, from string) (position string, err error)
	// ReadLog writes what the log has after a position.
	ReadLog(ctx context.Context, req LogRequest) (LogReply, error)
	// DropLog has the server keep nothing for anybody's sake any more. It may be called at any time.
	DropLog(ctx context.Context) error
}

// MaxPosition is how long a position in a log may be, in bytes.
const MaxPosition = 200

// LogRequest asks for a part of the log.
type LogRequest struct {
	After string // a position that KeepLog or ReadLog has returned
	// To, when set, is the To of an earlier reply for the same After: exactly the same bytes are written. "": as much as there is,
	// but at most so many bytes as Most says.
	To     string
	Most   int64
	Output io.Writer
}

// LogReply tells what was written.
type LogReply struct {
	To string // where the next part begins; After: there was nothing
	// At: whatever was committed before that time lies before To. Zero: it is not known, since more follows.
	At time.Time
	// Kept is how many bytes the server keeps of its log after After; it gives some up when that would be more than Keeps.
	Kept, Keeps int64
}

// LogReplay is the log that is replayed on a restored backup, and up to where.
type LogReplay struct {
	// Time: what was committed until then is there afterwards, and nothing later. Zero: Position says it.
	Time time.Time
	// Position: what lies before it in the log is there afterwards, and nothing that lies behind. Invalid, when the log does not
	// come to it, or the backup is later than that.
	Position string
	// Next returns the parts of the log one after the other, io.EOF after the last one that is there or needed. The first one may begin
	// before the backup's own end.
	Next func(ctx context.Context) (LogPart, error)
}

// LogPart is a part of the log.
type LogPart struct {
	After string    `json:"after"` // where it begins
	To    string    `json:"to"`
	At    time.Time `json:"at,omitzero"` // see LogReply
	Data  []byte    `json:"-"`
}

// ShipArgs ask a guest to ship its server's log from now on.
type ShipArgs struct {
	Window string `json:"window,omitempty"` // UUID under which its parts are numbered from 1; "": it is to ship nothing any more
	RPO    int    `json:"rpo,omitempty"`    // how far the shipped log may be behind, in seconds
	Key    Secret `json:"key,omitzero"`     // of the window alone: 32 bytes in base64
}

// ReplayArgs name the log to replay on a restored backup, and up to where: see [LogReplay].
type ReplayArgs struct {
	Window   string    `json:"window"`
	First    int64     `json:"first"`
	Last     int64     `json:"last"`
	Time     time.Time `json:"time,omitzero"`
	Position string    `json:"position,omitempty"`
	Key      Secret    `json:"key,omitzero"`
}

// Shipped is how much of its log a guest has shipped.
type Shipped struct {
	Window   string    `json:"window"`
	Segments int64     `json:"segments"` // that are in the store: 1 to this one
	Bytes    int64     `json:"bytes"`    // of all of them
	Start    string    `json:"start,omitempty"`
	Position string    `json:"position,omitempty"` // the window goes from Start to Position
	From     time.Time `json:"from,omitzero"`      // when it began; zero: it has not yet
	Until    time.Time `json:"until,omitzero"`     // what was committed before that time is in the store
	// Behind is how far the log in the store was behind until the last segment came, in nanoseconds: what was written in that time would have
	// been lost. 0: it is not known.
	Behind time.Duration `json:"behind,omitempty"`
	// Stuck is since when the log cannot be shipped, when that has lasted for so long that the status warns of it; zero: it is shipped.
	Stuck time.Time `json:"stuck,omitzero"`
	// Gone is why the window has come to its end: the log goes on elsewhere. "": it goes on.
	Gone string `json:"gone,omitempty"`
}

// Same reports whether two say the same.
func (s *Shipped) Same(o *Shipped) bool {
	if s == nil || o == nil {
		return s == o
	}
	return *s == *o
}
