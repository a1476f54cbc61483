package modules_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/modules"
)

// TestSQL: a module names its database in the first line, and whatever becomes of its statements quotes none.
func TestSQL(t *testing.T) {
	var got modules.Statements
	var fails error
	driver := modules.SQL(func(_ context.Context, s modules.Statements) error { got = s; return fails })
	apply := func(contents string, root bool) error {
		message, err := driver.Apply(t.Context(), datastores.AppliedModule{Contents: []byte(contents), Root: root})
		if strings.Contains(message, "secret") || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("it quotes its statements: %q, %v", message, err)
		}
		return err
	}
	const good = "-- database: orders of ours \nsecret"
	if err := apply(good, true); err != nil || got != (modules.Statements{Database: "orders of ours", Text: good, Root: true}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"secret", "secret\n-- database: x", "-- database:\nsecret", "-- database: x\nsecret\x00", "-- database: x\nsecret\xff"} {
		if own := (*datastores.Error)(nil); !errors.As(apply(bad, false), &own) || own.Kind != datastores.Invalid {
			t.Errorf("%q was taken", bad)
		}
	}
	fails = errors.New("near secret")
	if apply(good, false) == nil {
		t.Error("what failed went well")
	}
}
