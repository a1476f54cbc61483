package until_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

func TestHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if until.Holds(time.Second, func() bool { return false }) {
			t.Error("what never holds was seen")
		}
		if took := time.Since(begun); took != time.Second {
			t.Errorf("gave up after %s", took)
		}
		if !until.Holds(time.Minute, func() bool { return time.Since(begun) > 30*time.Second }) {
			t.Error("what holds after half a minute was not seen")
		}
		if !until.Holds(0, func() bool { return true }) {
			t.Error("what holds at once was not seen")
		}
	})
}
