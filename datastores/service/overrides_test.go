package service

import (
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

func TestOverrides(t *testing.T) {
	o := Overrides{Dir: t.TempDir()}
	defaults := map[string]string{"a": "1", "b": "2"}
	if merged, err := o.Over(defaults); err != nil || merged["a"] != "1" {
		t.Errorf("before the first save: %v, %v", merged, err)
	}
	var values datastores.Values
	if err := values.UnmarshalJSON([]byte(`{"a": 10000000, "c": true}`)); err != nil {
		t.Fatal(err)
	}
	if err := o.Save(values); err != nil {
		t.Fatal(err)
	}
	merged, err := o.Over(defaults)
	if err != nil || merged["a"] != "10000000" || merged["b"] != "2" || merged["c"] != "true" || defaults["a"] != "1" {
		t.Errorf("merged %v, %v", merged, err)
	}
	if differ := Differ(merged, map[string]string{"a": "10000000", "b": "3"}); len(differ) != 2 || differ[0] != "b" || differ[1] != "c" {
		t.Errorf("they differ in %v", differ)
	}
	if differ := Differ(map[string]string{"a": "90s", "b": "1s"}, map[string]string{"a": "1m30s", "b": "1"}); len(differ) != 1 || differ[0] != "b" {
		t.Errorf("they differ in %v", differ)
	}
	if err := o.Save(nil); err != nil {
		t.Fatal(err)
	}
	if values, err := o.Load(); err != nil || len(values) != 0 {
		t.Errorf("nothing was stored and %v, %v loaded", values, err)
	}
}
