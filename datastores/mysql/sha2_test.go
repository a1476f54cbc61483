package mysql

import (
	"strings"
	"testing"
)

// The format's own vector of 5000 rounds has a shorter salt.
func TestSHA2(t *testing.T) {
	const want = sha2Mark + "saltstring" + "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
	if got := sha2With(secret("Hello world!"), "saltstring"); got != want {
		t.Errorf("got %s", got)
	}
	long := secret(strings.Repeat("pässword", 20))
	hash := "CREATE USER x IDENTIFIED WITH caching_sha2_password AS '" + sha2Hash(long) + "' ACCOUNT LOCK"
	if !sha2Of(hash, long) || sha2Of(hash, secret("x")) || sha2Of(sha2Mark, long) || sha2Of("", long) {
		t.Error("a hash is not known again, or taken for that of another password")
	}
}
