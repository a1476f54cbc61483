package service

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRights(t *testing.T) {
	dir := t.TempDir()
	failure := errors.New("no")
	for i, row := range []struct {
		now  map[string][]string
		lost []string
		fail bool
	}{
		{now: map[string][]string{"ann": {"password 1", "shop"}, "bob": {"password 2"}}},
		{now: map[string][]string{"ann": {"shop", "password 1"}, "bob": {"password 2"}}},
		{now: map[string][]string{"ann": {"password 1", "shop", "stock"}, "bob": {"password 2"}, "cid": {"x"}}},
		{now: map[string][]string{"ann": {"password 3", "shop", "stock"}, "cid": {"x"}}, lost: []string{"ann", "bob"}, fail: true},
		{now: map[string][]string{"ann": {"password 3", "shop"}, "cid": {"x"}}, lost: []string{"ann", "bob"}},
		{now: map[string][]string{"ann": {"password 3"}, "cid": {"x"}}, lost: []string{"ann"}},
		{now: map[string][]string{"ann": {"password 3"}, "cid": {"x"}}},
	} {
		var lost []string
		err := Rights{dir}.Watch(row.now, func(users []string) error { // each time as a guest that has just started
			lost = users
			if row.fail {
				return failure
			}
			return nil
		})
		if row.fail != errors.Is(err, failure) || !row.fail && err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if diff := cmp.Diff(row.lost, lost); diff != "" {
			t.Errorf("%d: %s", i, diff)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, rightsFile)); err != nil || strings.Contains(string(b), "password") {
		t.Errorf("on disk is %s, %v", b, err)
	}
}
