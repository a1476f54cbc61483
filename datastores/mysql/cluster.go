package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mysql/galera"
	"github.com/cofferdb/coffer/datastores/service"
)

// Member is a [Manager] of MariaDB, whose servers can be a cluster by Galera: each has all data, and each takes writes.
type Member struct{ *Manager }

// ClusterShape implements [datastores.Cluster]. Of fewer than three none may be missing, but they may be had.
func (Member) ClusterShape() datastores.ClusterShape {
	return datastores.ClusterShape{Backups: datastores.BackupOfMember}
}

// JoinCluster implements [datastores.Cluster]. A new member has one of the others copy itself to it.
func (m Member) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	others := v.Others()
	if in == nil {
		// What a backup has brought of another cluster, this one must not go on with.
		if err := m.forgetCluster(); err != nil {
			return err
		}
		var addresses []string
		for _, c := range v.Of(datastores.ClusterIn, datastores.ClusterJoins, datastores.ClusterOutside) {
			addresses = append(addresses, c.Address)
		}
		in = newMember(v.ID, addresses, len(others) == 0)
		if err := m.own.SaveJSON(memberName, in); err != nil {
			return err
		}
		// From here on a start makes it a member.
	}
	if m.session(func(db *sql.DB) error { return m.isWell(ctx, db) }) != nil {
		v.Progress("starting the server as a member")
		if err := m.Stop(ctx); err != nil {
			return err
		}
		if err := m.startSlowly(ctx, v); err != nil {
			return err
		}
	}
	return m.session(func(db *sql.DB) error {
		if len(others) == 0 {
			a, password := account{memberUser, "%"}, m.variant.identified(v.Secret)
			if err := execute(ctx, db, "CREATE USER IF NOT EXISTS "+a.sql()+password, "ALTER USER "+a.sql()+password); err != nil {
				return failed(err, "cannot make the account of the cluster's guests")
			}
		}
		return m.remember(ctx, db, in)
	})
}

// startSlowly starts a server that has others' data copied to it.
func (m *Manager) startSlowly(ctx context.Context, v datastores.ClusterView) error {
	return service.Telling(func() error { return m.Start(ctx) }, func() {
		data, _ := m.sizes()
		v.Progress(fmt.Sprintf("%d MB are here", data>>20))
	})
}

// SettleCluster implements [datastores.Cluster].
func (m Member) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	v.Progress("waiting for all members to have all data")
	return service.AwaitSaying(ctx, func() error {
		in := v.Of(datastores.ClusterIn)
		history := ""
		for _, c := range in {
			s, err := m.statusOf(ctx, v, c)
			if err != nil {
				return fmt.Errorf("member %s cannot be asked: %w", c.ID, err)
			}
			if trouble := s.Trouble(); trouble != "" {
				return fmt.Errorf("member %s: %s", c.ID, trouble)
			}
			if s.Doing != "Synced" || s.Size != len(in) {
				return fmt.Errorf("member %s is with %d of %d members, and says %s", c.ID, s.Size, len(in), s.Doing)
			}
			if history != "" && s.Position.History != history {
				return datastores.Errorf(datastores.Conflict, "member %s has another history than the others", c.ID)
			}
			history = s.Position.History
		}
		return nil
	})
}

// statusOf asks the server of a member, by the cluster's own account.
func (m Member) statusOf(ctx context.Context, v datastores.ClusterView, c datastores.ClusterMember) (s galera.Status, err error) {
	ask := func(db *sql.DB) error {
		s, err = m.clusterStatus(ctx, db)
		return err
	}
	if c.ID == v.Self {
		return s, m.session(ask)
	}
	db, err := m.dialServer(c.Address, memberUser, v.Secret, m.env.ServerTLS().On())
	if err != nil {
		return s, err
	}
	defer func() { _ = db.Close() }()
	return s, ask(db)
}

// LeaveCluster implements [datastores.Cluster]. A client that goes on at this server would write what nobody else has: it is read-only
// from then on.
func (m Member) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	if in != nil {
		if err := m.othersAreWell(ctx, v); err != nil {
			return err
		}
		v.Progress("leaving the cluster")
		if err := m.Stop(ctx); err != nil {
			return err
		}
		if err := m.becomeReadOnly(); err != nil {
			return err
		}
		if err := errors.Join(m.own.Remove(memberName), m.forgetCluster()); err != nil {
			return err
		}
	}
	return m.Start(ctx)
}

// forgetCluster takes away what the server itself keeps of a cluster that it is not in.
func (m *Manager) forgetCluster() error {
	return errors.Join(m.data.Remove(dataDir+"/"+galera.StateFile), m.data.Remove(dataDir+"/"+galera.ViewFile))
}

// othersAreWell returns nil when somebody who stays has everything.
func (m Member) othersAreWell(ctx context.Context, v datastores.ClusterView) (err error) {
	for _, c := range v.Of(datastores.ClusterIn) {
		var s galera.Status
		if s, err = m.statusOf(ctx, v, c); err == nil && s.Trouble() == "" {
			return nil
		}
		if err == nil {
			err = errors.New(s.Trouble())
		}
		err = fmt.Errorf("member %s: %w", c.ID, err)
	}
	return datastores.Errorf(datastores.Unavailable, "no member that stays takes writes: %v", err)
}
