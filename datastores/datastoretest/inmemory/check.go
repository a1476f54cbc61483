package inmemory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/modules"
)

// ModuleDrivers implements [datastores.Modules].
func (m *manager) ModuleDrivers() []datastores.ModuleDriver {
	return append(modules.Common(m.env), modules.Parameters())
}

// Damage has a server find something wrong with its data from now on, when it is asked to check that; "": nothing any more.
func (m *Datastore) Damage(address, problem string) {
	m.with(address, func(s *server) { s.damage = problem })
}

func (m *manager) Check(ctx context.Context) (report datastores.CheckReport, err error) {
	if err := m.enter(ctx, datastores.MethodCheckData); err != nil {
		return report, err
	}
	err = m.ask(ctx, func(s *server) error {
		report = datastores.CheckReport{By: "counting", Objects: int64(len(s.history)), Unit: "changes"}
		sum := sha256.Sum256([]byte(strings.Join(s.history, "\n")))
		report.Digest = hex.EncodeToString(sum[:])
		if s.damage != "" {
			report.Problems = []string{s.damage}
		}
		return nil
	})
	return report, err
}

// Ask knows one question.
func (m *manager) Ask(ctx context.Context, q datastores.Question) (answer string, err error) {
	if q.Query.Reveal() != "databases" {
		return "", datastores.Errorf(datastores.Invalid, "the server does not take the question")
	}
	err = m.ask(ctx, func(s *server) error {
		answer = strings.Join(slices.Sorted(maps.Keys(s.databases)), "\n")
		return nil
	})
	return answer, err
}
