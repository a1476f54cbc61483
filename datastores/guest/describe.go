package guest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/cofferdb/coffer/datastores"
)

// writePuts writes both halves of every offer's definition as put lines, in the form that `etcdctl txn` reads from its
// input: an empty line for no comparisons, the puts, an empty line, no puts for the other case. So the halves become
// visible together, or not at all.
func writePuts(w io.Writer, m datastores.Manifest) error {
	var b bytes.Buffer
	b.WriteByte('\n')
	for _, offer := range m.Offers {
		server, err := json.Marshal(offer.Server)
		if err != nil {
			return err
		}
		for _, half := range []struct {
			prefix string
			value  []byte
		}{{"/server/datastores/", server}, {"/guest/datastores/", offer.Guest}} {
			fmt.Fprintf(&b, "put %s%s/%s '%s'\n", half.prefix, offer.Datastore, offer.Version, quotable(half.value))
		}
	}
	b.WriteString("\n\n")
	_, err := w.Write(b.Bytes())
	return err
}

// quotable writes a JSON text without single quotes, so that it can stand between two.
func quotable(text []byte) []byte { return bytes.ReplaceAll(text, []byte("'"), []byte(`\u0027`)) }
