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

// TestSharesOfEtcd sums what the table lets a project's members, and one of its guests, hold of the etcd inside a gateway: history of ten
// minutes, written as fast as may be after a burst, and what is kept. Of etcd a byte that is charged takes a fifth more at most, as the attacks'
// tests measure it on a real one: TestH5RenamesOfALargeRecord.
func TestSharesOfEtcd(t *testing.T) {
	most := map[string]int64{}
	for _, row := range limits.Table() {
		most[row.Name] = row.Value
	}
	const etcd, history = int64(4 << 30), 600 + 128 // bytes, seconds
	members := most["write_bytes"]*history + most["modules"]*(most["module"]*3/2+most["description"]+1024) + most["configurations"]*(most["values"]+most["description"]+1024) + most["backups"]*4096
	guest := most["agent_bytes"]*history + most["status"] + most["values"] + most["events"]*(most["message"]+256)
	project := members + most["instances"]*guest
	members, guest, project = members*6/5, guest*6/5, project*6/5
	for what, share := range map[string]struct{ is, want int64 }{
		"the members of a project": {members, etcd / 100}, "a guest": {guest, etcd / 100}, "a project with all its guests": {project, etcd / 10},
	} {
		if share.is > share.want || share.is <= 0 {
			t.Errorf("%s may hold %d MiB of etcd, want at most %d", what, share.is>>20, share.want>>20)
		}
	}
}
