package gateway_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestAlerts holds the rules that docs/operations.md shows against /metrics: they are YAML, and each name and label in them is there.
func TestAlerts(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "<!-- alerts -->\n```yaml\n")
	text, _, found := strings.Cut(rest, "```")
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(text), &rules); err != nil || !found || len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 5 {
		t.Fatalf("the page shows no rules: %v", err)
	}
	_, g, _ := start(t)
	told := g.Metrics(t)
	name, label := regexp.MustCompile(`coffer_\w+`), regexp.MustCompile(`(\w+)!?="(\w+)"`)
	for _, rule := range rules.Groups[0].Rules {
		for _, metric := range name.FindAllString(rule.Expr, -1) {
			if !strings.Contains(told, "\n"+metric+"{") && !strings.Contains(told, "\n"+metric+" ") {
				t.Errorf("%s: /metrics has no %s", rule.Alert, metric)
			}
		}
		for _, l := range label.FindAllStringSubmatch(rule.Expr, -1) {
			if !strings.Contains(told, l[1]+`="`+l[2]+`"`) {
				t.Errorf("%s: /metrics has no label %s", rule.Alert, l[0])
			}
		}
	}
}
