package deployments_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
)

var update = flag.Bool("update", false, "write the tables of docs/datastores.md and docs/sizes.md anew")

const datastoresPage = "../docs/datastores.md"

// TestOptionsTable holds the table of all options in docs/datastores.md against the structs that they are.
func TestOptionsTable(t *testing.T) {
	rows := structRows(t, "server", reflect.TypeFor[datastores.ServerOptions]())
	rows = append(rows, structRows(t, "guest", reflect.TypeFor[datastores.GuestOptions]())...)
	common := structNames(reflect.TypeFor[datastores.GuestOptions]())
	for _, manifest := range manifests(t) {
		for _, o := range manifest.Options {
			if common[o.Name] {
				continue
			}
			if o.Doc == "" {
				t.Errorf("option %s of %s has no doc tag", o.Name, manifest.Manager)
			}
			rows = append(rows, row(o.Name, "guest, "+manifest.Manager, o.Type, inCode(string(o.Default)), o.Doc))
		}
	}
	table := "| option | half | type | default | effect |\n|---|---|---|---|---|\n" + strings.Join(rows, "")
	keepTable(t, datastoresPage, "options", table, "TestOptionsTable")
}

// manifests are those of every guest of this repository, in order of names.
func manifests(t *testing.T) []datastores.Manifest {
	t.Helper()
	guests, err := filepath.Glob("../datastores/*/cmd/*-guest")
	if err != nil || len(guests) < 2 {
		t.Fatalf("guests: %q, %v", guests, err)
	}
	var all []datastores.Manifest
	for _, dir := range guests {
		var manifest datastores.Manifest
		if err := json.Unmarshal([]byte(run(t, nil, dir, "go", "run", ".", "describe")), &manifest); err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		all = append(all, manifest)
	}
	return all
}

func row(name, half, kind, initial, doc string) string {
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", name, half, kind, initial, strings.ReplaceAll(doc, "<manager>-guest", "`<manager>-guest`"))
}

func inCode(value string) string {
	if value == `""` || value == "null" {
		return "none"
	}
	return "`" + strings.ReplaceAll(value, "|", `\|`) + "`"
}

// structRows reads json and doc tags. What stands after "default" at the end of a doc tag is the default.
func structRows(t *testing.T, half string, of reflect.Type) []string {
	var rows []string
	for f := range of.Fields() {
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		doc, initial, hasDefault := strings.Cut(f.Tag.Get("doc"), "; default ")
		switch {
		case doc == "":
			t.Errorf("option %s of the %s half has no doc tag", name, half)
		case hasDefault:
			initial = inCode(initial)
		case !strings.Contains(rest, "omit"):
			initial = "the manifest's"
		case f.Type.Kind() == reflect.Bool:
			initial = inCode("false")
		default:
			initial = "none"
		}
		rows = append(rows, row(name, half, kindOf(f.Type), initial, doc))
	}
	return rows
}

func structNames(of reflect.Type) map[string]bool {
	names := map[string]bool{}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "integer"
	case reflect.Slice:
		return "list"
	case reflect.String:
		return "string"
	}
	return "object"
}

// keepTable compares the part of a page between its two marks with what it should be, or writes it.
func keepTable(t *testing.T, page, mark, want, test string) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	first, last := "<!-- "+mark+": written by "+test+" -->\n", "<!-- end of "+mark+" -->\n"
	before, rest, ok1 := strings.Cut(string(b), first)
	got, after, ok2 := strings.Cut(rest, last)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no marks %q and %q", page, first, last)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+first+want+last+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is not what the code says; `go test ./deployments -run %s -update` writes it (-want +got):\n%s", page, test, diff)
	}
}
