package datastoretest

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

const (
	itemsDatabase  = "items"
	tenantName     = "keeper"
	tenantPassword = "keeper's pass"
	rootPassword   = "root of all"
	// visitorPassword is one that every datastore takes.
	visitorPassword = "visitors-pass"
	someItems       = 50
)

// keeper gives a new server a tenant with items: a user and a database where the datastore has them, else root. Another user
// has no right on anything.
func (s *server) keeper(t *testing.T) {
	t.Helper()
	s.login = Login{Address: s.env.Address}
	databases := []datastores.Database(nil)
	if m, ok := s.manager.(datastores.Databases); ok {
		s.login.Database = itemsDatabase
		databases = []datastores.Database{{Name: itemsDatabase}}
		s.must(t, "create database", m.CreateDatabase(s.within(t), databases[0]))
	}
	if m, ok := s.manager.(datastores.Root); ok {
		name, err := m.EnableRoot(s.within(t), datastores.NewSecret(rootPassword))
		s.must(t, "enable root", err)
		s.root, s.login.User, s.login.Password = name, name, rootPassword
	}
	if m, ok := s.manager.(datastores.Users); ok {
		s.login.User, s.login.Password = tenantName, tenantPassword
		for _, u := range []datastores.User{{Name: tenantName, Databases: databases}, {Name: "stranger"}} {
			u.Password = datastores.NewSecret(tenantPassword)
			s.must(t, "create user", m.CreateUser(s.within(t), u))
		}
	}
	s.write(t, someItems)
	s.writeEveryKind(t)
}

// visitor gives the server a tenant for the length of a test.
func (s *server) visitor(t *testing.T) {
	t.Helper()
	ctx, before := t.Context(), s.login
	s.rounds.first = s.rounds.next
	s.login = Login{Address: s.env.Address}
	if m, ok := s.manager.(datastores.Users); ok {
		databases := s.withDatabase(t, "visited")
		s.login = Login{s.env.Address, "visitor", visitorPassword, databases.first()}
		u := datastores.User{Name: "visitor", Password: datastores.NewSecret(visitorPassword), Databases: databases}
		s.must(t, "create user", m.CreateUser(ctx, u))
		t.Cleanup(func() { s.must(t, "delete user", m.DeleteUser(withoutCancel(ctx), "visitor", "%")) })
	} else if m, ok := s.manager.(datastores.Root); ok {
		name, err := m.EnableRoot(ctx, datastores.NewSecret(visitorPassword))
		s.must(t, "enable root", err)
		s.login.User, s.login.Password, s.hadRoot = name, visitorPassword, name
		t.Cleanup(func() { s.must(t, "disable root", m.DisableRoot(withoutCancel(ctx))) })
	}
	t.Cleanup(func() { s.login, s.rounds.first = before, s.rounds.next })
}

// write stores the next n items.
func (s *server) write(t *testing.T, n int) {
	t.Helper()
	acknowledged, err := s.Write(s.within(t), s.login, s.next, s.next+n)
	if err != nil || acknowledged != n {
		t.Fatalf("write items %d to %d: %d acknowledged, %v", s.next, s.next+n-1, acknowledged, err)
	}
	s.next += n
}

// contents are what a tenant finds.
type contents struct {
	items  int
	digest string
}

func (c contents) String() string { return fmt.Sprintf("%d items, digest %.12s", c.items, c.digest) }

func (s *server) contents(t *testing.T) contents {
	t.Helper()
	items, digest, err := s.Digest(s.within(t), s.login)
	s.must(t, "digest", err)
	return contents{items, digest}
}

// wantSame checks that s, which has the items of another server, has them and the accounts as that had them.
func (s *server) wantSame(t *testing.T, other *server, want contents) {
	t.Helper()
	if got := s.contents(t); got != want {
		t.Errorf("it has %v; want %v", got, want)
	}
	s.wantKept(t)
	if m, ok := s.manager.(datastores.Databases); ok {
		wantNames(t, "databases", databaseNames(t, m), databaseNames(t, other.manager.(datastores.Databases)))
	}
	if m, ok := s.manager.(datastores.Users); ok {
		wantNames(t, "users", userNames(t, m), userNames(t, other.manager.(datastores.Users)))
		s.letsIn(t, tenantName, tenantPassword, s.login.Database)
		s.keepsOut(t, tenantName, "x", s.login.Database)
		if s.login.Database != "" {
			s.keepsOut(t, "stranger", tenantPassword, s.login.Database)
		}
	}
	if s.root != "" {
		s.wantRoot(t, rootPassword, true)
		s.keepsOut(t, s.root, "x", "")
	}
}

// inherit makes s the server that holds the items of another.
func (s *server) inherit(from *server) {
	s.login, s.root, s.next, s.rounds = from.login, from.root, from.next, from.rounds
	s.login.Address = s.env.Address
}

// writer writes one item after the other until it is refused or stopped.
type writer struct {
	acknowledged atomic.Int64
	quit         func() // ends it between two items: none is half way then
	done         chan struct{}
	states       map[int]contents // by number of items, when they are kept
}

// startWriter begins at the server's next item. With keep it remembers what there was after each item; then nobody else may
// write.
func (s *server) startWriter(t *testing.T, keep bool) *writer {
	t.Helper()
	ctx, enough := s.within(t), make(chan struct{})
	w := &writer{quit: sync.OnceFunc(func() { close(enough) }), done: make(chan struct{}), states: map[int]contents{}}
	if keep {
		w.states[s.next] = s.contents(t)
	}
	go func() {
		defer close(w.done)
		for n := s.next; ; n++ {
			select {
			case <-enough:
				return
			default:
			}
			if acknowledged, _ := s.Write(ctx, s.login, n, n+1); acknowledged != 1 {
				return
			}
			w.acknowledged.Add(1)
			if keep {
				items, digest, err := s.Digest(ctx, s.login)
				if err != nil {
					return
				}
				w.states[items] = contents{items, digest}
			}
		}
	}()
	t.Cleanup(func() { w.stop() })
	return w
}

// wrote waits until some more items were written.
func (w *writer) wrote(t *testing.T, s *server, more int64) {
	t.Helper()
	want := w.acknowledged.Load() + more
	s.eventually(t, func() (bool, string) {
		select {
		case <-w.done:
			t.Fatalf("the writer was refused after %d items", w.acknowledged.Load())
		default:
		}
		return w.acknowledged.Load() >= want, "the writer does not come on"
	})
}

// stop ends the writer and tells how many items were acknowledged.
func (w *writer) stop() int {
	w.quit()
	<-w.done
	return int(w.acknowledged.Load())
}

// Item is the text of the item of that number, 100 bytes, for a [Harness]'s Write.
func Item(number int) string {
	return fmt.Sprintf("%036d%x", number, sha256.Sum256(fmt.Append(nil, number)))
}
