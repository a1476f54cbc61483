package datastoretest_test

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// planted is a manager with a defect, of which the harness wants to see what is inside.
type planted struct{ everything }

func (p planted) inside() datastores.Manager { return p.everything }

// backups changes every backup strategy.
type backups struct {
	planted
	change func(*datastores.BackupStrategy)
}

func (b backups) BackupStrategies() []datastores.BackupStrategy {
	all := b.planted.BackupStrategies()
	for i := range all {
		b.change(&all[i])
	}
	return all
}

type liar struct{ planted }

func (l liar) UpdateOverrides(ctx context.Context, values datastores.Values) (bool, error) {
	_, err := l.planted.UpdateOverrides(ctx, values)
	return false, err
}

type forgetful struct{ planted }

func (f forgetful) Stop(ctx context.Context) error {
	if err := f.planted.Stop(ctx); err != nil {
		return err
	}
	_, err := f.planted.UpdateOverrides(ctx, nil)
	return err
}

type hands struct{ planted }

func (h hands) CheckOverrides(ctx context.Context, values datastores.Values) error {
	if _, err := h.planted.UpdateOverrides(ctx, values); err != nil {
		return err
	}
	return h.planted.CheckOverrides(ctx, values)
}

type lenient struct{ planted }

func (l lenient) Start(ctx context.Context) error {
	if l.planted.Start(ctx) == nil {
		return nil
	}
	if _, err := l.planted.UpdateOverrides(ctx, nil); err != nil {
		return err
	}
	return l.planted.Start(ctx)
}

type oneway struct{ planted }

func (o oneway) UpdateOverrides(ctx context.Context, values datastores.Values) (bool, error) {
	if o.Status(ctx).Service != datastores.StatusHealthy && values["boot"] != "never" {
		return false, datastores.Errorf(datastores.Conflict, "the server does not run")
	}
	return o.planted.UpdateOverrides(ctx, values)
}

type generous struct{ planted }

func (g generous) GrantAccess(ctx context.Context, name, host string, databases []string) error {
	return g.planted.GrantAccess(ctx, name, host, append(databases, "blog"))
}

// greedy takes with a user what is in the user's databases.
type greedy struct{ planted }

func (g greedy) DeleteUser(ctx context.Context, name, host string) error {
	databases, err := g.ListAccess(ctx, name, host)
	if err != nil {
		return err
	}
	users, err := g.ListUsers(ctx)
	for _, db := range databases {
		err = errors.Join(err, g.DeleteDatabase(ctx, db.Name), g.CreateDatabase(ctx, db))
		for _, u := range users {
			if slices.Contains(u.Databases, db) {
				err = errors.Join(err, g.GrantAccess(ctx, u.Name, u.Host, []string{db.Name}))
			}
		}
	}
	return errors.Join(err, g.planted.DeleteUser(ctx, name, host))
}

// unaware knows of root what it was asked for itself.
type unaware struct {
	planted
	enabled bool
}

func (u *unaware) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	u.enabled = true
	return u.planted.EnableRoot(ctx, password)
}

func (u *unaware) RootEnabled(context.Context) (bool, error) { return u.enabled, nil }

// shadowed makes another user beside each.
type shadowed struct{ planted }

func (s shadowed) CreateUser(ctx context.Context, u datastores.User) error {
	if err := s.planted.CreateUser(ctx, u); err != nil {
		return err
	}
	u.Name += "_shadow"
	return s.planted.CreateUser(ctx, u)
}

// once cannot prepare a server any more when that was cut.
func once() func(everything) datastores.Manager {
	half := new(bool)
	return func(m everything) datastores.Manager { return preparedOnce{planted{m}, half} }
}

type preparedOnce struct {
	planted
	half *bool
}

func (p preparedOnce) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	if *p.half {
		return errors.New("half a server is in the way")
	}
	err := p.planted.Prepare(ctx, req)
	*p.half = err != nil
	return err
}

// forgetter is the datastore in memory with another defect built in.
type forgetter interface{ Forget(moment string) }

func forgets(moment string) func(everything) datastores.Manager {
	return func(m everything) datastores.Manager {
		m.(forgetter).Forget(moment)
		return m
	}
}

// lingerer is the datastore in memory, which has this defect built in: no manager decides when a server ends a session.
type lingerer interface{ Linger() }

// sharer is the datastore in memory with another defect built in.
type sharer interface{ ShareConnections() }

// halver takes the rights on a database away before it finds out that the database cannot be deleted.
type halver struct{ planted }

func (h halver) DeleteDatabase(ctx context.Context, name string) error {
	users, err := h.ListUsers(ctx)
	if err != nil {
		return err
	}
	for _, u := range users {
		_ = h.RevokeAccess(ctx, u.Name, u.Host, name)
	}
	return h.planted.DeleteDatabase(ctx, name)
}

// confused deletes a name in lower case when there is no other.
type confused struct{ planted }

func (c confused) DeleteDatabase(ctx context.Context, name string) error {
	if err := c.planted.DeleteDatabase(ctx, strings.ToLower(name)); err == nil {
		return nil
	}
	return c.planted.DeleteDatabase(ctx, name)
}

func (c confused) DeleteUser(ctx context.Context, name, host string) error {
	if err := c.planted.DeleteUser(ctx, strings.ToLower(name), host); err == nil {
		return nil
	}
	return c.planted.DeleteUser(ctx, name, host)
}

type quiet struct{ planted }

func (quiet) SetLog(context.Context, string, bool) (bool, error) { return false, nil }

type blind struct{ planted }

func (blind) CheckUpgrade(context.Context, datastores.UpgradeRequest) error { return nil }

type younger struct{ planted }

func (y younger) Upgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	req.From = []byte(`{"release":1}`)
	return y.planted.Upgrade(ctx, req)
}

// following changes the replication strategy.
type following struct {
	planted
	change func(*datastores.ReplicationStrategy)
}

func replicas(change func(*datastores.ReplicationStrategy)) func(everything) datastores.Manager {
	return func(m everything) datastores.Manager { return following{planted{m}, change} }
}

func (f following) ReplicationStrategies() []datastores.ReplicationStrategy {
	all := f.planted.ReplicationStrategies()
	for i := range all {
		f.change(&all[i])
	}
	return all
}

func detached(s *datastores.ReplicationStrategy) {
	attach := s.Replica.Attach
	s.Replica.Attach = func(ctx context.Context, req datastores.AttachRequest) error {
		if err := attach(ctx, req); err != nil {
			return err
		}
		return s.Replica.Detach(ctx)
	}
}

func open(s *datastores.ReplicationStrategy) {
	s.Source.SetReadOnly = func(context.Context, bool) error { return nil }
}

func hasty(s *datastores.ReplicationStrategy) {
	s.Replica.WaitFor = func(context.Context, datastores.Position) error { return nil }
}

func stubborn(s *datastores.ReplicationStrategy) {
	attach := s.Replica.Attach
	s.Replica.Attach = func(ctx context.Context, req datastores.AttachRequest) error {
		if req.Former {
			return nil
		}
		return attach(ctx, req)
	}
}

// drivers changes every driver of modules.
func (p planted) drivers(change func(*datastores.ModuleDriver)) []datastores.ModuleDriver {
	all := p.everything.ModuleDrivers()
	for i := range all {
		change(&all[i])
	}
	return all
}

type littering struct{ planted }

func (l littering) ModuleDrivers() []datastores.ModuleDriver {
	return l.drivers(func(d *datastores.ModuleDriver) { d.Remove = func(context.Context, string) error { return nil } })
}

// stale does not apply again what it has.
type stale struct {
	planted
	has map[string]bool
}

func (s stale) ModuleDrivers() []datastores.ModuleDriver {
	return s.drivers(func(d *datastores.ModuleDriver) {
		apply := d.Apply
		d.Apply = func(ctx context.Context, m datastores.AppliedModule) (string, error) {
			if s.has[d.Type+m.ID] {
				return "", ctx.Err()
			}
			s.has[d.Type+m.ID] = true
			return apply(ctx, m)
		}
	})
}
