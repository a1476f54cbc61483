package identity

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

func TestPasswordHash(t *testing.T) {
	s := &Service{hashing: make(gate, 1)}
	phc, err := s.hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(phc, "horse") {
		t.Fatal(phc)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct hors": false, "": false} {
		if got, err := matchesHash(phc, password); got != want || err != nil {
			t.Errorf("%q: got %v, %v", password, got, err)
		}
	}
	if got, err := matchesHash("", ""); got || err != nil {
		t.Error("a user without a password can log in without one", err)
	}
	again, err := s.hash(t.Context(), "correct horse")
	if err != nil || again == phc {
		t.Error("the salt is not random", err)
	}
}

// A hash by argon2's reference program: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -e
const referenceHash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

func TestPasswordHashOfAnother(t *testing.T) {
	if got, err := matchesHash(referenceHash, "password"); !got || err != nil {
		t.Fatal(got, err)
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(referenceHash)
	f.Add("$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=8,t=0,p=0$$")
	f.Add("$2y$10$abc")
	f.Fuzz(func(t *testing.T, phc string) {
		p, err := parseHash(phc)
		if err == nil && (p.memory > maxHashMemory || p.passes < 1 || p.passes > maxHashPasses || p.lanes < 1 || len(p.sum) < 16) {
			t.Errorf("%q asks for too much: %+v", phc, p)
		}
	})
}

func TestGateWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := make(gate, 1)
		leave, err := g.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.enter(t.Context()); !errors.Is(err, errBusy) {
			t.Fatal("full for too long:", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := g.enter(gone); !errors.Is(err, context.Canceled) {
			t.Fatal("the client went away:", err)
		}
		entered := make(chan error)
		go func() {
			leave, err := g.enter(t.Context())
			if err == nil {
				leave()
			}
			entered <- err
		}()
		synctest.Wait()
		leave()
		if err := <-entered; err != nil {
			t.Fatal("a turn became free:", err)
		}
	})
}
