package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mysql/group"
	"github.com/cofferdb/coffer/datastores/service"
)

// GroupMember is a [Manager] of Oracle's server, of which several can be a cluster by group replication: each has all data, and each takes
// writes.
type GroupMember struct{ *Manager }

// groups reports whether the server can be in a group of which each member comes to the others as clients do.
func (m *Manager) groups() bool { return m.variant.clones && atLeast(m.options.Version, "8.4") }

// ClusterShape implements [datastores.Cluster]. Of fewer than three none may be missing, but they may be had.
func (GroupMember) ClusterShape() datastores.ClusterShape {
	return datastores.ClusterShape{Backups: datastores.BackupOfMember}
}

// JoinCluster implements [datastores.Cluster]. A new member has one of the others copy itself to it.
func (m GroupMember) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	var others []string
	for _, c := range v.Of(datastores.ClusterIn) {
		if c.ID != v.Self {
			others = append(others, c.Address)
		}
	}
	if in == nil {
		in = &member{Cluster: v.ID, Secret: v.Secret.Reveal(), Addresses: others}
		if err := m.own.SaveJSON(memberName, in); err != nil {
			return err
		}
		// From here on a start makes it a member.
	}
	err = m.sessionWith(group.Looking(), func(db *sql.DB) error {
		s, err := group.Ask(ctx, db)
		if err == nil && s.Cluster != v.ID {
			err = errors.New("the server was not started as a member")
		}
		return err
	})
	if err != nil {
		v.Progress("starting the server as a member")
		if err := m.Stop(ctx); err != nil {
			return err
		}
	}
	if err := m.startSlowly(ctx, v); err != nil {
		return err
	}
	if len(others) > 0 {
		return nil
	}
	return m.session(func(db *sql.DB) error {
		err := execute(ctx, db, group.Make()...)
		if err == nil {
			err = group.Enter(ctx, db, m.env.Address)
		}
		return failed(err, "cannot make what the cluster knows of its members")
	})
}

// Mend implements [datastores.Mender].
func (m GroupMember) Mend(ctx context.Context) error {
	in, err := m.loadMember()
	if err != nil || in == nil {
		return err
	}
	return m.mend(ctx, in, nil)
}

func (m *Manager) mend(ctx context.Context, in *member, lost []string) error {
	return m.sessionWith(group.Looking(), func(db *sql.DB) error {
		db.SetMaxOpenConns(1)
		if err := takeTurn(ctx, db); err != nil {
			return err
		}
		return failed(group.Server{
			Address: m.env.Address, Port: port, Own: db, Account: memberUser, Password: datastores.NewSecret(in.Secret), Text: text,
			Dial: func(address string) (*sql.DB, error) { return m.dialMember(address, datastores.NewSecret(in.Secret)) },
			Told: in.Addresses, Lost: lost,
		}.Mend(ctx), "cannot bring the server back to its cluster")
	})
}

func (m *Manager) dialMember(address string, secret datastores.Secret) (*sql.DB, error) {
	return m.dialServerWith(address, memberUser, secret, m.env.ServerTLS().On(), group.Looking())
}

const (
	mendEvery = 200 * time.Millisecond
	copies    = 3 // how often a server may end at a start, having been copied to
)

// comeBack returns when a member that was started takes writes with the others, or when nobody waits for it any more. A server that was copied to ends.
func (m *Manager) comeBack(ctx context.Context) error {
	in, err := m.loadMember()
	if err != nil || in == nil || !m.groups() {
		return err
	}
	for ended := 0; ; {
		if _, _, running := m.service.Running(); !running && ended < copies {
			ended++
			err = m.launch(ctx)
		} else if !running {
			return &service.Failure{Program: serviceName, Err: errors.New("it ended when it became a member"), Words: m.service.LastWords()}
		} else {
			err = m.mend(ctx, in, nil)
		}
		if err == nil {
			return nil
		}
		if !service.Pause(ctx, mendEvery) {
			return err
		}
	}
}

// close has a member that is about to stop end what clients do at it. A commit that is at work when the server leaves its group keeps it from
// stopping for a minute.
func (m *Manager) close(ctx context.Context) {
	in, err := m.loadMember()
	if _, _, running := m.service.Running(); err != nil || in == nil || !running || !m.groups() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	params := group.Looking()
	params["lock_wait_timeout"] = strconv.Itoa(graceSeconds)
	err = m.sessionWith(params, func(db *sql.DB) error {
		db.SetMaxOpenConns(1)
		return execute(ctx, db, "SET GLOBAL super_read_only = ON", "SET GLOBAL offline_mode = ON")
	})
	if err != nil {
		m.env.Log.Warn("clients write until the server has stopped", "err", err)
	}
}

// isWellInGroup is isWell of a member of a group.
func (m *Manager) isWellInGroup(ctx context.Context) error {
	var s group.Status
	err := m.sessionWith(group.Looking(), func(db *sql.DB) (err error) {
		s, err = group.Ask(ctx, db)
		return err
	})
	if err != nil {
		return failed(err, "cannot ask the server how it gets on with its cluster")
	}
	if trouble := s.Trouble(); trouble != "" {
		return datastores.Errorf(datastores.Unavailable, "%s", trouble)
	}
	return nil
}

// SettleCluster implements [datastores.Cluster].
func (m GroupMember) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	if in == nil {
		return datastores.Errorf(datastores.Conflict, "the server is in no cluster")
	}
	var want, lost []string
	for _, c := range v.Members {
		switch c.State {
		case datastores.ClusterIn:
			want = append(want, c.Address)
		case datastores.ClusterLost:
			lost = append(lost, c.Address)
		}
	}
	slices.Sort(want)
	v.Progress("waiting for all members to have all data")
	return service.AwaitSaying(ctx, func() error {
		if err := m.mend(ctx, in, lost); err != nil {
			return err
		}
		for _, c := range v.Of(datastores.ClusterIn) {
			s, err := m.statusOf(ctx, v, c)
			if err != nil {
				return fmt.Errorf("member %s cannot be asked: %w", c.ID, err)
			}
			if trouble := s.Trouble(); trouble != "" {
				return fmt.Errorf("member %s: %s", c.ID, trouble)
			}
			if s.Online != len(s.Together) || !slices.Equal(s.Together, want) {
				return fmt.Errorf("member %s is with %d members, of which %d have all data; they are to be %d", c.ID, len(s.Together), s.Online, len(want))
			}
		}
		return m.session(func(db *sql.DB) error {
			return group.Strike(ctx, db, func(address string) bool {
				return !slices.ContainsFunc(v.Members, func(c datastores.ClusterMember) bool { return c.Address == address && c.State == datastores.ClusterIn })
			})
		})
	})
}

// statusOf asks the server of a member, by the cluster's own account.
func (m GroupMember) statusOf(ctx context.Context, v datastores.ClusterView, c datastores.ClusterMember) (s group.Status, err error) {
	err = m.at(ctx, v, c, func(db *sql.DB) error {
		s, err = group.Ask(ctx, db)
		return err
	})
	return s, err
}

func (m GroupMember) at(ctx context.Context, v datastores.ClusterView, c datastores.ClusterMember, do func(*sql.DB) error) error {
	if c.ID == v.Self {
		return m.sessionWith(group.Looking(), do)
	}
	db, err := m.dialMember(c.Address, v.Secret)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return do(db)
}

// LeaveCluster implements [datastores.Cluster]. Those that stay have everything. A client that goes on at this server would write what nobody
// else has: it is read-only from then on.
func (m GroupMember) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	if in != nil {
		v.Progress("leaving the cluster")
		if err := m.strike(ctx, v); err != nil {
			return err
		}
		if err := m.Stop(ctx); err != nil {
			return err
		}
		if err := firstError(m.becomeReadOnly(), m.own.Remove(memberName)); err != nil {
			return err
		}
	}
	return m.Start(ctx)
}

// strike has a member that stays, and works, write down that this one does not.
func (m GroupMember) strike(ctx context.Context, v datastores.ClusterView) (err error) {
	for _, c := range v.Of(datastores.ClusterIn) {
		err = m.at(ctx, v, c, func(db *sql.DB) error {
			s, err := group.Ask(ctx, db)
			if trouble := s.Trouble(); err == nil && trouble != "" {
				err = errors.New(trouble)
			}
			if err != nil {
				return err
			}
			return group.Strike(ctx, db, func(address string) bool { return address == m.env.Address })
		})
		if err == nil {
			return nil
		}
		err = fmt.Errorf("member %s: %w", c.ID, err)
	}
	return datastores.Errorf(datastores.Unavailable, "no member that stays takes writes: %v", err)
}
