package inmemory

import (
	"context"
	"fmt"

	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// textsPut are written at once.
type textsPut struct {
	Database string
	Texts    map[string]string
}

func (d *contents) putTexts(put textsPut) {
	if d.texts[put.Database] == nil {
		d.texts[put.Database] = map[string]string{}
	}
	for name, text := range put.Texts {
		d.texts[put.Database][name] = text
	}
}

// Kinds are a [datastoretest.Harness]'s Kinds, with sessions of this datastore.
func (m *Datastore) Kinds() []datastoretest.WriteKind {
	texts := func(round int) map[string]string {
		return map[string]string{fmt.Sprint("a", round): "first", fmt.Sprint("b", round): "second"}
	}
	in := func(s datastoretest.Session, do func(*server, datastoretest.Login) error) (err error) {
		session := s.(*session)
		m.with(session.login.Address, func(server *server) {
			if err = server.connect(session.login); err == nil {
				err = do(server, session.login)
			}
		})
		return err
	}
	return []datastoretest.WriteKind{{
		Name: "texts at once",
		Write: func(_ context.Context, s datastoretest.Session, round int) error {
			return in(s, func(server *server, l datastoretest.Login) error {
				return server.change(change{PutTexts: &textsPut{l.Database, texts(round)}})
			})
		},
		Read: func(_ context.Context, s datastoretest.Session, round int) error {
			return in(s, func(server *server, l datastoretest.Login) error {
				for name, want := range texts(round) {
					if got := server.texts[l.Database][name]; got != want {
						return fmt.Errorf("text %s is %q", name, got)
					}
				}
				return nil
			})
		},
	}}
}

// Moments at which a server may lose something: defects for tests of the suite, see [manager.Forget].
const (
	AtStart         = "start"
	AtReadOnlyStart = "start that is read-only"
	AtResize        = "start with other memory"
	AtKill          = "kill"
	AtRestore       = "restore"
	AtIncrements    = "restore of increments"
	AtAttach        = "attach"
	AtDetach        = "detach"
	AtPromotion     = "promotion"
	AtUpgrade       = "upgrade"
	AtLeave         = "leave of another member"
)

// Forget has the server lose what was written at once whenever it comes to a moment: a defect for tests of the suite.
func (m *manager) Forget(moment string) {
	m.memory.with(m.env.Address, func(s *server) { s.forgets = moment })
}

// passes is called when the server comes to a moment.
func (s *server) passes(moment string) {
	if s.forgets == moment {
		clear(s.texts)
	}
}
