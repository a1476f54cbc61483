package gateway_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/limits"
)

// TestLimitsTable holds docs/security.md against the table of limits; -update writes it.
func TestLimitsTable(t *testing.T) {
	const file, begin, end = "../docs/security.md", "<!-- limits -->\n", "<!-- end of limits -->\n"
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(old), begin)
	_, after, foundEnd := strings.Cut(rest, end)
	if !found || !foundEnd {
		t.Fatalf("%s has no place for the table", file)
	}
	var b strings.Builder
	b.WriteString("| limit | value | of | who wants more gets | set by | what |\n|---|---|---|---|---|---|\n")
	for _, row := range limits.Table() {
		value := fmt.Sprintf("%d %s", row.Value, row.Unit)
		if row.Value < 0 {
			value = "none (" + row.Unit + ")"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.Name, value, row.Of, row.Fault, row.Set, row.Doc)
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(old) != want {
		t.Errorf("%s does not say what the table says; go test ./gateway -run TestLimitsTable -update writes it", file)
	}
}
