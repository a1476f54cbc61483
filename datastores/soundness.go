package datastores

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// Checker is implemented by a manager that can find out whether all that its server holds is whole, and put a question to it. It is asked of
// servers that were made of a backup to see whether that can be done.
type Checker interface {
	// Check reads everything that tenants have, by the engine's own means, and changes nothing of it. What it finds damaged are Problems of
	// the report, at most [MaxProblems] of them; an error says that the check could not be made.
	Check(ctx context.Context) (CheckReport, error)
	// Ask puts a question to the server as an account that can read what tenants have, and nothing else, and that is gone when Ask returns.
	// It returns the answer: rows by line, columns by tab, at most [MaxAnswer] bytes. Invalid says that the server does not take the
	// question; neither that nor another error may quote it.
	Ask(ctx context.Context, q Question) (answer string, err error)
}

// What a check tells at most.
const (
	MaxProblems = 20
	MaxAnswer   = 64 << 10
)

// Question is what a tenant wants to know of a server that was made of a backup, and the answer that is right.
type Question struct {
	Database string `json:"database,omitempty"` // "": the engine's default
	Query    Secret `json:"query,omitzero"`
	Answer   Secret `json:"answer,omitzero"`
}

// IsZero reports whether nothing is asked.
func (q Question) IsZero() bool { return q.Query.IsZero() }

// ForSealing returns a copy that marshals to JSON verbatim, see [Secret.ForSealing].
func (q Question) ForSealing() Question {
	q.Query, q.Answer = q.Query.ForSealing(), q.Answer.ForSealing()
	return q
}

// CheckArgs are the arguments of check_data.
type CheckArgs struct {
	Question Question `json:"question,omitzero"`
}

// CheckReport is what a check has found. It names no row.
type CheckReport struct {
	By      string `json:"by"`              // by which means, such as mariadb-check
	Objects int64  `json:"objects"`         // that were read
	Unit    string `json:"unit"`            // what they are: keys, tables
	Bytes   int64  `json:"bytes,omitempty"` // that were read, as far as that is known
	// Digest is the same for the same data, whatever server it is in; "": there is none.
	Digest   string   `json:"digest,omitempty"`
	Problems []string `json:"problems,omitempty"`
	// Answered is filled by the guest runtime: the answer was the right one. nil: nothing was asked.
	Answered *bool `json:"answered,omitempty"`
}

// Digest sums up items, whatever their order.
type Digest struct{ sum big.Int }

// Add adds one item, of parts.
func (d *Digest) Add(parts ...string) {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d ", len(p))
		h.Write([]byte(p))
	}
	d.sum.Add(&d.sum, new(big.Int).SetBytes(h.Sum(nil)))
}

// String is the digest in hexadecimal digits.
func (d *Digest) String() string {
	all := new(big.Int).Mod(&d.sum, new(big.Int).Lsh(big.NewInt(1), 8*sha256.Size))
	return hex.EncodeToString(all.Bytes())
}

// Answer is what a server answers a question, as [Checker.Ask] returns it.
type Answer struct{ text strings.Builder }

// Row adds a row, of which nil is NULL. Invalid says that the answer is too long.
func (a *Answer) Row(columns ...[]byte) error {
	for i, c := range columns {
		if i > 0 {
			a.text.WriteByte('\t')
		}
		if c == nil {
			c = []byte("NULL")
		}
		if a.text.Len()+len(c) >= MaxAnswer {
			return Errorf(Invalid, "the answer has more than %d bytes", MaxAnswer)
		}
		a.text.Write(c)
	}
	a.text.WriteByte('\n')
	return nil
}

// String is all of it.
func (a *Answer) String() string { return a.text.String() }
