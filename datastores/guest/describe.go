package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
		halves, err := halvesOf(offer)
		if err != nil {
			return err
		}
		for _, h := range halves {
			fmt.Fprintf(&b, "put /%s %q\n", h.key, quotable.Replace(string(h.value)))
		}
	}
	b.WriteString("\n\n")
	_, err := w.Write(b.Bytes())
	return err
}

// half is one record of a definition.
type half struct {
	key   string // without the slash in front
	value []byte
}

func halvesOf(offer datastores.Offer) ([]half, error) {
	server, err := json.Marshal(offer.Server)
	name := "datastores/" + offer.Datastore + "/" + offer.Version
	return []half{{"server/" + name, server}, {"guest/" + name, offer.Guest}}, err
}

// writeFiles writes both halves of every offer's definition as files below dir, whose paths are their keys.
func writeFiles(dir string, m datastores.Manifest) error {
	if dir == "" {
		return errors.New("-format files needs a directory: say which with -o")
	}
	for _, offer := range m.Offers {
		halves, err := halvesOf(offer)
		if err != nil {
			return err
		}
		for _, h := range halves {
			var b bytes.Buffer
			if err := json.Indent(&b, h.value, "", "  "); err != nil {
				return err
			}
			b.WriteByte('\n')
			file := filepath.Join(dir, h.key+".json")
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// quotable writes in JSON's own way what a shell reads between double quotes.
var quotable = strings.NewReplacer("$", `\u0024`, "`", `\u0060`)
