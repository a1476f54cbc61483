package guest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// writePuts writes both halves of every offer's definition as put lines, in the form that `etcdctl txn` reads from its
// input: an empty line for no comparisons, the puts, an empty line, no puts for the other case. So the halves become
// visible together, or not at all. Values stand in double quotes, for etcdctl cuts what stands in single ones; put into
// a shell, a line means the same.
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
			fmt.Fprintf(&b, "put %s%s/%s %q\n", half.prefix, offer.Datastore, offer.Version, quotable.Replace(string(half.value)))
		}
	}
	b.WriteString("\n\n")
	_, err := w.Write(b.Bytes())
	return err
}

// quotable writes in JSON's own way what a shell reads between double quotes.
var quotable = strings.NewReplacer("$", `\u0024`, "`", `\u0060`)
