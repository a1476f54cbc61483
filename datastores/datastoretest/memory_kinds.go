package datastoretest

import (
	"context"
	"fmt"
)

// memoryTexts are written at once.
type memoryTexts struct {
	Database string
	Texts    map[string]string
}

func (d *memoryData) putTexts(put memoryTexts) {
	if d.texts[put.Database] == nil {
		d.texts[put.Database] = map[string]string{}
	}
	for name, text := range put.Texts {
		d.texts[put.Database][name] = text
	}
}

// Kinds are a [Harness]'s Kinds, with sessions of this datastore.
func (m *Memory) Kinds() []WriteKind {
	texts := func(round int) map[string]string {
		return map[string]string{fmt.Sprint("a", round): "first", fmt.Sprint("b", round): "second"}
	}
	in := func(s Session, do func(*memoryServer, Login) error) (err error) {
		session := s.(*memorySession)
		m.with(session.login.Address, func(server *memoryServer) {
			if err = server.connect(session.login); err == nil {
				err = do(server, session.login)
			}
		})
		return err
	}
	return []WriteKind{{
		Name: "texts at once",
		Write: func(_ context.Context, s Session, round int) error {
			return in(s, func(server *memoryServer, l Login) error {
				return server.change(change{PutTexts: &memoryTexts{l.Database, texts(round)}})
			})
		},
		Read: func(_ context.Context, s Session, round int) error {
			return in(s, func(server *memoryServer, l Login) error {
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

// Moments at which a server may lose something: defects for tests of the suite, see [memoryManager.Forget].
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
func (m *memoryManager) Forget(moment string) {
	m.memory.with(m.env.Address, func(s *memoryServer) { s.forgets = moment })
}

// passes is called when the server comes to a moment.
func (s *memoryServer) passes(moment string) {
	if s.forgets == moment {
		clear(s.texts)
	}
}
