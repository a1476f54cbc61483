package deployments

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// MethodCheck asks a host what it says of definitions: CheckArgs -> CheckReply. It changes nothing.
const (
	MethodCheck  = "check"
	CheckTimeout = 60 * time.Second
)

// CheckArgs are the definitions to look at.
type CheckArgs struct {
	Definitions []Definition `json:"definitions"`
}

// Definition is the part of a datastore version's definition that a host can judge.
type Definition struct {
	Manager string          `json:"manager"`
	Image   string          `json:"image,omitempty"`
	Guest   json.RawMessage `json:"guest"` // the guest half
}

// ID names the definition by what it says: another manager, image or guest half is another definition.
func (d Definition) ID() string {
	h := sha256.New()
	h.Write([]byte(d.Manager + "\n"))
	if d.Image != "" {
		h.Write([]byte(d.Image + "\n"))
	}
	var guest bytes.Buffer // as it comes back from a command, whatever spaces an operator has put
	if json.Compact(&guest, d.Guest) != nil {
		guest.Write(d.Guest)
	}
	h.Write(guest.Bytes())
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// CheckReply is a host's verdicts by the id of the definition. One whose manager has no guest binary on the host, or one
// that does not answer, has none.
type CheckReply struct {
	Verdicts map[string]datastores.Verdict `json:"verdicts"`
}
