package agentpoll

import (
	"fmt"
	"strconv"
	"strings"
)

// Cursor is how much an agent has been told: everything up to Revision of the etcd cluster that Epoch names. The zero
// Cursor means "nothing".
type Cursor struct {
	Epoch    string `json:"epoch,omitempty"` // opaque, without spaces; changes when etcd is restored or replaced
	Revision int64  `json:"revision,omitempty"`
}

// String is the header form: "epoch:revision", or "" for the zero Cursor.
func (c Cursor) String() string {
	if c == (Cursor{}) {
		return ""
	}
	return c.Epoch + ":" + strconv.FormatInt(c.Revision, 10)
}

// ParseCursor reads the form that [Cursor.String] writes.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return Cursor{}, fmt.Errorf("cursor %q: want epoch:revision", s)
	}
	rev, err := strconv.ParseInt(s[i+1:], 10, 64)
	if err != nil || rev < 0 {
		return Cursor{}, fmt.Errorf("cursor %q: the revision is not a positive number", s)
	}
	return Cursor{Epoch: s[:i], Revision: rev}, nil
}
