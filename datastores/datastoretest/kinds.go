package datastoretest

import (
	"context"
	"testing"
)

// WriteKind is one way in which a tenant's program has a server store something: with one statement, in a transaction, by a
// function that the server runs. Whatever the way, what was acknowledged is there after a restart, after SIGKILL, after a
// restore, on a replica, after its promotion and after an upgrade.
type WriteKind struct {
	Name string
	// Write stores what belongs to a round, in the session of a tenant that may do with its database what it wants. It
	// returns nil when the server has acknowledged all of it. Rounds are told apart by their numbers.
	Write func(ctx context.Context, s Session, round int) error
	// Read returns nil when all that Write stored in that round is there. Else the error says what is not.
	Read func(ctx context.Context, s Session, round int) error
}

// rounds are the numbers from first to next-1 of those rounds of which a server must have every write.
type rounds struct{ first, next int }

// looked are those that are looked at each time: the first, whose writes have gone through everything, and the last two.
func (r rounds) looked() (some []int) {
	for n := r.first; n < r.next; n++ {
		if n == r.first || n >= r.next-2 {
			some = append(some, n)
		}
	}
	return some
}

// kindsTest is the test in which each kind is used alone.
const kindsTest = "kinds of writes"

// testKinds checks the kinds of the harness: each finds what it has stored, and nothing before that.
func testKinds(t *testing.T, s *server) {
	if len(s.Kinds) == 0 {
		t.Skip("the harness has no Kinds: not tested")
	}
	s.visitor(t)
	named := map[string]bool{}
	for _, kind := range s.Kinds {
		if named[kind.Name] {
			t.Errorf("kind %q is there twice", kind.Name)
		}
		named[kind.Name] = true
	}
	for range 2 {
		session := s.session(t, s.login)
		defer func() { _ = session.Close() }()
		for _, kind := range s.Kinds {
			if err := kind.Read(s.within(t), session, s.rounds.next); err == nil {
				t.Errorf("kind %q finds what was not written yet", kind.Name)
			}
		}
		s.writeEveryKind(t)
		s.wantKept(t)
	}
}

// writeEveryKind makes one more round of writes.
func (s *server) writeEveryKind(t *testing.T) {
	t.Helper()
	if len(s.Kinds) == 0 {
		return
	}
	session := s.session(t, s.login)
	defer func() { _ = session.Close() }()
	for _, kind := range s.Kinds {
		s.must(t, "write: "+kind.Name, kind.Write(s.within(t), session, s.rounds.next))
	}
	s.rounds.next++
}

// visitAndWrite gives the server a tenant for the length of a test, who makes a round of writes.
func (s *server) visitAndWrite(t *testing.T) {
	t.Helper()
	if len(s.Kinds) > 0 {
		s.visitor(t)
		s.writeEveryKind(t)
	}
}

// wantKept checks that the server has every write of its rounds.
func (s *server) wantKept(t *testing.T) {
	t.Helper()
	if len(s.Kinds) == 0 {
		return
	}
	session := s.session(t, s.login)
	defer func() { _ = session.Close() }()
	for _, round := range s.rounds.looked() {
		for _, kind := range s.Kinds {
			if err := kind.Read(s.within(t), session, round); err != nil {
				t.Errorf("what was acknowledged is not there: %s, of round %d: %v", kind.Name, round, err)
			}
		}
	}
}

// killed kills the server, starts it and looks for what was acknowledged. It reports whether the harness can kill.
func (s *server) killed(t *testing.T) bool {
	t.Helper()
	if s.Kill == nil {
		return false
	}
	s.must(t, "kill", s.Kill(s.within(t), s.env))
	s.manager = s.open(t)
	s.start(t)
	s.wantKept(t)
	return true
}
