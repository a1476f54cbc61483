package inmemory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// manager implements every capability of [datastores].
type manager struct {
	memory  *Datastore
	env     datastores.Env
	release int
}

// enter begins a method: it waits while the method is held and fails when it is to fail.
func (m *manager) enter(ctx context.Context, method string) error {
	var failure error
	err := m.memory.await(ctx, m.env.Address, func(s *server) bool {
		failure = s.failures[method]
		return s.held[method] == 0
	})
	return errors.Join(err, failure, ctx.Err())
}

// ask calls f with the running server. The error of f is returned.
func (m *manager) ask(ctx context.Context, f func(*server) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.memory.with(m.env.Address, func(s *server) {
		if !s.running {
			err = errors.New("connection refused")
			return
		}
		if s.sharing {
			if err = s.full(); err != nil {
				return
			}
		}
		err = f(s)
	})
	return err
}

func (m *manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	if err := m.enter(ctx, datastores.MethodPrepare); err != nil {
		return err
	}
	physical := req.Restore != nil && !req.Restore.Strategy.Logical
	for _, step := range []struct {
		name string
		skip bool
		do   func(context.Context) error
	}{
		{"writing nothing", false, func(context.Context) error { m.install(req); return nil }},
		{"restoring", !physical, func(ctx context.Context) error { return req.Restore.Run(ctx) }},
		{"starting nothing", false, m.Start},
		{"loading", req.Restore == nil || physical, func(ctx context.Context) error { return req.Restore.Run(ctx) }},
		{"following", req.Replicate == nil, func(ctx context.Context) error { return req.Replicate.Run(ctx) }},
	} {
		if step.skip {
			continue
		}
		req.Progress(step.name)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// install makes the server of this instance when there is another's or none, or when it is to be made of a backup.
func (m *manager) install(req datastores.PrepareRequest) {
	m.memory.with(m.env.Address, func(s *server) {
		if s.instance != m.env.InstanceID || req.Restore != nil {
			s.contents, s.accounts, s.source = newContents(), map[string]string{}, nil
			s.readOnly, s.general, s.running, s.cluster = false, false, false, ""
			s.instance, s.born, s.kept = m.env.InstanceID, time.Now().String(), ""
		}
		if s.told = ""; req.Cluster != nil {
			s.told = req.Cluster.ID
		}
		s.overrides = maps.Clone(req.Overrides)
		if s.running {
			m.apply(s)
		} else {
			s.release = m.release
		}
	})
}

func (m *manager) Start(ctx context.Context) (err error) {
	if m.Status(ctx).Service == datastores.StatusHealthy {
		return ctx.Err()
	}
	failure := m.enter(ctx, datastores.MethodStart)
	if err := ctx.Err(); err != nil {
		return err
	}
	m.memory.with(m.env.Address, func(s *server) {
		s.starts, s.dir = s.starts+1, m.env.Dir
		if s.tls, err = m.takeTLS(); err != nil {
			failure = errors.Join(failure, err)
		}
		if err = errors.Join(failure, m.startProblem(s)); err != nil {
			s.log(errorLog, "cannot start: %v", err)
			return
		}
		s.running, s.since, s.inForce, s.sessions = true, time.Now(), m.configuration(s.overrides), 0
		s.stalled = ""
		s.log(errorLog, "started")
		s.passes(AtStart)
		if s.readOnly {
			s.passes(AtReadOnlyStart)
		}
		if s.memoryMB != 0 && s.memoryMB != m.env.MemoryMB {
			s.passes(AtResize)
		}
		s.memoryMB = m.env.MemoryMB
	})
	return err
}

func (m *manager) startProblem(s *server) error {
	if s.release != 0 && s.release != m.release {
		return fmt.Errorf("the data is of release %d, the server of release %d", s.release, m.release)
	}
	if s.overrides["boot"] == "never" {
		return errors.New("boot: never")
	}
	return m.CheckOverrides(context.Background(), s.overrides)
}

func (m *manager) Stop(ctx context.Context) error {
	if err := m.enter(ctx, datastores.MethodStop); err != nil {
		return err
	}
	m.memory.with(m.env.Address, func(s *server) { s.running = false })
	return nil
}

func (m *manager) Status(context.Context) datastores.Status {
	st := datastores.Status{Service: datastores.StatusShutdown}
	m.memory.with(m.env.Address, func(s *server) {
		if s.running {
			st = datastores.Status{Service: datastores.StatusHealthy, Since: s.since, Restart: s.stalled}
			if s.outside != "" {
				st.Service, st.Message = datastores.StatusBlocked, s.outside
			}
		}
	})
	return st
}

func (m *manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	return "root", m.putRoot(ctx, password.Reveal())
}

func (m *manager) DisableRoot(ctx context.Context) error { return m.putRoot(ctx, "") }

func (m *manager) RootEnabled(ctx context.Context) (enabled bool, err error) {
	err = m.ask(ctx, func(s *server) error {
		enabled = len(s.root) > 0
		return nil
	})
	return enabled, err
}

func (m *manager) putRoot(ctx context.Context, password string) error {
	root := []byte(password)
	return m.ask(ctx, func(s *server) error { return s.change(change{PutRoot: &root}) })
}

// FoldDatabases implements [datastores.FoldsNames].
func (m *manager) FoldDatabases(_ context.Context, names []string) ([]string, error) {
	names = slices.Clone(names)
	for i, name := range names {
		if m.memory.FoldsNames {
			names[i] = strings.ToLower(name)
		}
	}
	return names, nil
}

func (m *manager) CreateDatabase(ctx context.Context, db datastores.Database) error {
	if m.memory.FoldsNames {
		db.Name = strings.ToLower(db.Name)
	}
	return m.ask(ctx, func(s *server) error {
		if _, ok := s.databases[db.Name]; ok {
			return datastores.Errorf(datastores.Exists, "database %q exists", db.Name)
		}
		return s.change(change{PutDatabase: &db})
	})
}

func (m *manager) ListDatabases(ctx context.Context) (list []datastores.Database, err error) {
	err = m.ask(ctx, func(s *server) error {
		list = slices.Collect(maps.Values(s.databases))
		return nil
	})
	return list, err
}

func (m *manager) DeleteDatabase(ctx context.Context, name string) error {
	return m.ask(ctx, func(s *server) error {
		if err := s.hasDatabases([]string{name}); err != nil {
			return err
		}
		if err := s.free(); err != nil {
			return err
		}
		return s.change(change{DropDatabase: &name})
	})
}

func (s *server) hasDatabases(names []string) error {
	for _, name := range names {
		if _, ok := s.databases[name]; !ok {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", name)
		}
	}
	return nil
}

func (m *manager) Names() datastores.NameRules {
	const name = `[\pL\pM\pN\pP\pS ]{1,64}`
	return datastores.NameRules{Database: name, User: name}
}
