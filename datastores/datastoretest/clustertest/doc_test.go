package clustertest

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumentation: the package's comment has every test of the stage, in its order.
func TestDocumentation(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var listed, want []string
	for line := range strings.Lines(file.Doc.Text()) {
		if name, ok := strings.CutPrefix(line, "  - "); ok {
			name, _, _ = strings.Cut(name, ":")
			listed = append(listed, name)
		}
	}
	for _, test := range stage() {
		want = append(want, test.name)
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("the tests that doc.go lists (-want +got):\n%s", diff)
	}
}
