package troveimport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// WriteFiles writes each definition into a file below dir whose path is its key. What is there already is left when it is
// the same; when it is not, nothing is written at all.
func WriteFiles(dir string, definitions []Definition) error {
	type file struct {
		path string
		text []byte
	}
	var files []file
	for _, d := range definitions {
		f := file{path: filepath.Join(dir, filepath.FromSlash(d.Key)) + ".json"}
		var text bytes.Buffer
		if err := json.Indent(&text, d.Value, "", "  "); err != nil {
			return err
		}
		text.WriteByte('\n')
		f.text = text.Bytes()
		there, err := os.ReadFile(f.path)
		switch {
		case err == nil && !bytes.Equal(there, f.text):
			return fmt.Errorf("nothing was written: %s is there and says something else; move it away, or write to another directory", f.path)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err != nil:
			files = append(files, f)
		}
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f.path, f.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// WriteTxn writes the definitions as what `etcdctl txn` reads, as a guest's `describe -format etcdctl` does: no
// comparisons, the puts, nothing else. So all of them become visible together.
func WriteTxn(w io.Writer, definitions []Definition) error {
	var b bytes.Buffer
	b.WriteByte('\n')
	for _, d := range definitions {
		fmt.Fprintf(&b, "put %s %q\n", d.Key, quotable.Replace(string(d.Value)))
	}
	b.WriteString("\n\n")
	_, err := w.Write(b.Bytes())
	return err
}

// quotable writes in JSON's own way what a shell would read between double quotes.
var quotable = strings.NewReplacer("$", `\u0024`, "`", `\u0060`)
