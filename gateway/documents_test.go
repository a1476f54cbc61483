package gateway_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentsNameWhatIsThere holds every page against the tree: a test that a page names exists, and so does a file that it links to.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	var pages, tests strings.Builder
	link := regexp.MustCompile(`\]\(([^)#:\s]+)[^)]*\)`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		page := strings.HasSuffix(path, ".md")
		if err != nil || d.IsDir() || !page && !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if !page {
			tests.Write(text)
			return err
		}
		pages.Write(text)
		for _, to := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), to[1])); err != nil {
				t.Errorf("%s has a dead link: %v", path, err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test[A-Z]\\w*)").FindAllStringSubmatch(pages.String(), -1)
	if len(named) == 0 {
		t.Error("no page names a test")
	}
	for _, name := range named {
		if !strings.Contains(tests.String(), "func "+name[1]+"(") {
			t.Errorf("a page names %s, and no test is called so", name[1])
		}
	}
}
