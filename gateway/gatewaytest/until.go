package gatewaytest

import (
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// Until is until.True.
func Until(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	until.True(t, within, what, holds)
}
