package identity

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuessingAtOneUserSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAttempts()
		for i := range userBurst { // from everywhere at once
			if _, wait := a.begin("alice", fmt.Sprintf("192.0.2.%d", i)); wait != 0 {
				t.Fatalf("try %d must wait %v", i, wait)
			}
		}
		_, wait := a.begin("alice", "198.51.100.1")
		if wait != userPeriod {
			t.Fatalf("got %v, want %v", wait, userPeriod)
		}
		if _, wait := a.begin("bob", "198.51.100.1"); wait != 0 {
			t.Fatal("another user must wait", wait)
		}
		time.Sleep(wait)
		uncount, wait := a.begin("alice", "198.51.100.1")
		if wait != 0 {
			t.Fatal("waited as told, and must wait", wait)
		}
		uncount() // the password was right
		guesses := 0
		for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(time.Second) {
			if _, wait := a.begin("alice", "203.0.113.1"); wait == 0 {
				guesses++
			}
		}
		if guesses < 599 || guesses > 602 {
			t.Errorf("%d guesses an hour, want one each %v", guesses, userPeriod)
		}
	})
}

func TestGuessingFromOneNetworkSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAttempts()
		for i := range remoteBurst {
			user, remote := fmt.Sprint("user", i), fmt.Sprintf("2001:db8::%x", i+1)
			if _, wait := a.begin(user, remote); wait != 0 {
				t.Fatalf("try %d must wait %v", i, wait)
			}
		}
		for range 2 * userBurst { // refused ones use up nobody's tries
			if _, wait := a.begin("alice", "2001:db8::ffff"); wait != remotePeriod {
				t.Fatal("the same network need not wait", wait)
			}
		}
		if _, wait := a.begin("alice", "2001:db8:0:1::1"); wait != 0 {
			t.Fatal("another network must wait", wait)
		}
	})
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1":          "192.0.2.1",
		"::ffff:192.0.2.1":   "192.0.2.1",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::/64",
		"fe80::1%eth0":       "fe80::/64",
		"not an address":     "not an address",
		"[2001:db8::1]:1234": "[2001:db8::1]:1234",
	} {
		if got := network(remote); got != want {
			t.Errorf("%s: got %s, want %s", remote, got, want)
		}
	}
}

func TestCacheForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache[int](goodFor, 3)
		put := func(key string, v int) {
			t.Helper()
			_, known, remember := c.get(key)
			if known {
				t.Fatalf("%s is known", key)
			}
			remember(v)
		}
		put("a", 1)
		time.Sleep(goodFor - 1)
		if v, known, _ := c.get("a"); !known || v != 1 {
			t.Fatal("forgot too early")
		}
		time.Sleep(time.Nanosecond)
		put("a", 2)
		for i := range 100 {
			put(fmt.Sprint(i), i)
		}
		if have := len(c.young) + len(c.old); have > 6 {
			t.Fatalf("holds %d entries, want at most 6", have)
		}
		if _, known, _ := c.get("99"); !known {
			t.Fatal("forgot the newest")
		}
		_, _, late := c.get("late")
		c.clear()
		late(1)
		if _, known, _ := c.get("late"); known {
			t.Fatal("remembers what was found out before clear")
		}
	})
}
