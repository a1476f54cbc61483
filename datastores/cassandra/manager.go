package cassandra

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// Manager runs one Cassandra server.
type Manager struct {
	service.SystemLog
	env     datastores.Env
	options Options
	variant variant
	service *service.Service
	data    volume.Dir // in the hands of the server's user
	own     volume.Dir // the guest's
	set     service.Overrides
	seen    map[string]string // of a ring's users, the passwords' hashes when the guest last looked: see endOutdated
}

// New makes the manager of the server in env. It touches nothing.
func New(env datastores.Env, options Options) *Manager {
	m := &Manager{env: env, options: options, data: volume.Data(env), own: volume.Own(env), set: service.Overrides{Dir: env.Dir, File: "cassandra-overrides.json"}}
	m.variant, _ = findVariant(options.Version)
	m.service = service.New(env, "cassandra", options.Java, "@"+m.dataPath(argsFile))
	m.service.LogFile = logFile
	m.SystemLog = service.NewSystemLog("system", m.dataPath(logFile))
	return m
}

// Prepare implements [datastores.Manager].
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	req.Progress("making the data folder")
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.checkSize(); err != nil {
		return err
	}
	if err := m.CheckOverrides(ctx, req.Overrides); err != nil {
		return err
	}
	if req.Cluster != nil && req.Restore != nil {
		return datastores.Errorf(datastores.Invalid, "a ring does not begin with a backup")
	}
	if err := errors.Join(m.makeOwn(), m.set.Save(req.Overrides), m.becomeMember(req.Cluster)); err != nil {
		return fmt.Errorf("cannot configure the server: %w", err)
	}
	if req.Restore != nil {
		req.Progress("restoring the backup")
		if err := req.Restore.Run(ctx); err != nil {
			return fmt.Errorf("cannot restore the backup: %w", err)
		}
	}
	if there, err := m.own.Exists(admittedFile); err != nil {
		return err
	} else if !there && req.Cluster == nil {
		req.Progress("making the guest's account, behind its certificate")
		if err := m.admit(ctx, nil); err != nil {
			return err
		}
	}
	req.Progress("starting the server")
	return m.Start(ctx)
}

// Start implements [datastores.Manager]. A server that does not know the guest's account any more, since root has taken it away, is
// started behind the guest's certificate once more.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.checkSize(); err != nil {
		return err
	}
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	if in.isOut() {
		return m.runOutside(ctx, in)
	}
	there, err := m.own.Exists(admittedFile)
	if err == nil && !there {
		err = m.admit(ctx, nil)
	}
	if err == nil {
		err = m.run(ctx)
	}
	if isRefused(err) {
		m.env.Log.Warn("the server does not take the guest's account; it is made anew")
		if err = m.Stop(ctx); err == nil {
			err = m.own.Remove(admittedFile)
		}
		if err == nil {
			err = m.admit(ctx, nil)
		}
		if err == nil {
			err = m.run(ctx)
		}
	}
	return err
}

// run starts the server, open to its users, and waits until it answers.
func (m *Manager) run(ctx context.Context) error {
	if _, _, ok := m.service.Running(); !ok {
		if err := errors.Join(m.configure(false), m.clearSnapshots()); err != nil {
			return fmt.Errorf("cannot configure the server: %w", err)
		}
	}
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	if err := m.openTransport(ctx); err != nil {
		return err
	}
	return m.awaitRing(ctx)
}

// await waits until check is content, or the server refuses the guest's account.
func (m *Manager) await(ctx context.Context, check func(context.Context) error) (err error) {
	awaitErr := m.service.Await(ctx, func(ctx context.Context) error {
		if err = check(ctx); err != nil && !isRefused(err) {
			service.Pause(ctx, 100*time.Millisecond) // a login costs the starting server more than the question is worth
			return err
		}
		return nil
	})
	return errors.Join(awaitErr, err)
}

// Stop implements [datastores.Manager]. The server writes what is in its memory to its tables on SIGTERM.
func (m *Manager) Stop(ctx context.Context) error { return m.service.Stop(ctx) }

// Status implements [datastores.Manager].
func (m *Manager) Status(ctx context.Context) datastores.Status {
	return m.service.Status(ctx, func(ctx context.Context) error {
		err := m.ping(ctx)
		if isRefused(err) {
			return errors.New("the guest's account is gone; a restart of the instance makes it anew")
		}
		if in, memberErr := m.loadMember(); err != nil && memberErr == nil && in.isIn() {
			return fmt.Errorf("it does not let its guest in, as when it reaches too few members of its ring to take anything: %w", err)
		}
		return err
	})
}

// ping asks the server what it is, and is content with the version that the options name.
func (m *Manager) ping(ctx context.Context) error { return m.with(ctx, m.checkVersion) }

func (m *Manager) checkVersion(ctx context.Context, s *session) error {
	var version string
	if err := s.one(ctx, "SELECT release_version FROM system.local", &version); err != nil {
		return err
	}
	if datastores.CompareVersions(version, m.variant.version) < 0 || len(version) < len(m.variant.version) || version[:len(m.variant.version)] != m.variant.version {
		return datastores.Errorf(datastores.Invalid, "the server in %s is %s and not %s", m.options.Home, version, m.variant.version)
	}
	return nil
}
