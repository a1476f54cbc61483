package postgresql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// ReplicationStrategies implements [datastores.Replication], by the server's own physical replication: each replica has a slot on
// its source, which keeps the log for it up to a limit.
func (m *Manager) ReplicationStrategies() []datastores.ReplicationStrategy {
	return []datastores.ReplicationStrategy{{
		StrategyName: datastores.StrategyName{Namespace: backupNamespace, Name: "PostgresqlReplicationStreaming"},
		Source: datastores.SourceSide{
			AddReplica: func(ctx context.Context, account datastores.ReplicaAccount) error {
				return m.with(ctx, func(s *session) error { return m.addReplica(ctx, s, account) })
			},
			RemoveReplica: func(ctx context.Context, account datastores.ReplicaAccount) error {
				return m.with(ctx, func(s *session) error { return m.removeReplica(ctx, s, account) })
			},
			SetReadOnly: m.setReadOnly,
		},
		Replica: datastores.ReplicaSide{
			Attach:  m.attach,
			Detach:  func(ctx context.Context) error { return m.promote(ctx, nil) },
			WaitFor: m.waitFor,
			Promote: m.promote,
		},
		Position: m.position,
		Failover: &datastores.Failover{Await: m.await, Stand: m.stand},
	}}
}

func (m *Manager) attach(ctx context.Context, req datastores.AttachRequest) error {
	slot, err := slotOf(req.Account)
	if err != nil {
		return err
	}
	installed, err := m.installed()
	if err != nil {
		return err
	}
	following := side{Standby: true, Source: &source{ID: req.SourceID, Address: req.Address, User: req.Account.User, Slot: slot}}
	if err := m.Stop(ctx); err != nil {
		return err
	}
	if err := m.storePassword(req.Account); err != nil {
		return err
	}
	if installed && req.Anew {
		req.Progress("throwing away what was here")
		if err := m.data.Discard(dataDir); err != nil {
			return err
		}
		installed = false
	}
	if installed && req.Keep {
		if err := m.mayRewind(ctx, following); err != nil {
			return errors.Join(err, m.Start(ctx)) // as it was
		}
	}
	if installed {
		req.Progress("taking back what the source has not")
		if err := m.rewind(ctx, following); err != nil {
			return err
		}
	}
	// Before the copy: one that is there is a replica's.
	if err := m.saveSide(following); err != nil {
		return err
	}
	if !installed {
		req.Progress("copying the data of the source")
		if err := m.copySource(ctx, req); err != nil {
			return fmt.Errorf("cannot copy the source: %w", err)
		}
	}
	req.Progress("following the source")
	if err := m.Start(ctx); err != nil {
		return err
	}
	if err := m.awaitStream(ctx); err != nil {
		return err
	}
	return m.endOutdated(ctx) // what comes from the source is compared with what is so now
}

// streamPatience is how long a server may neither receive the log of its source nor apply what it has of it.
const streamPatience = 2 * time.Minute

// awaitStream returns when the server receives the log of its source, or says why it does not.
func (m *Manager) awaitStream(ctx context.Context) error {
	return m.with(ctx, func(s *session) error {
		last, moved := "", time.Now()
		for {
			row, err := s.query(ctx, "SELECT (SELECT status FROM pg_stat_wal_receiver), pg_last_wal_replay_lsn()")
			if err != nil || row[0][0].String() == "streaming" {
				return failed(err, "cannot ask whether the source is followed")
			}
			if at := row[0][1].String(); at != last {
				last, moved = at, time.Now()
			}
			if time.Since(moved) > streamPatience {
				return datastores.Errorf(datastores.Conflict, "the server does not receive the log of its source%s", m.receiverWords())
			}
			if !service.Pause(ctx, lookEvery) {
				return fmt.Errorf("the server does not follow its source: %w: %s", ctx.Err(), m.lastWords())
			}
		}
	})
}

// promote makes the server independent, and with accounts a source; nil keeps nobody.
func (m *Manager) promote(ctx context.Context, accounts []datastores.ReplicaAccount) error {
	had, err := m.loadSide()
	if err != nil {
		return err
	}
	if !had.Standby && accounts == nil {
		return nil
	}
	if err := m.endRecovery(ctx); err != nil {
		return failed(err, "cannot promote the server")
	}
	now := side{}
	if accounts != nil {
		now.Await = had.Await
	}
	if err := m.saveSide(now); err != nil {
		return err
	}
	// pg_rewind of a server that is to follow reads of the new timeline in what a checkpoint writes.
	if err := m.with(ctx, func(s *session) error { return s.exec(ctx, "CHECKPOINT") }); err != nil {
		return failed(err, "cannot write a checkpoint")
	}
	if err := m.reload(ctx); err != nil { // the source is in the configuration
		return err
	}
	if err := m.data.Remove(passName); err != nil {
		return err
	}
	if err := m.with(ctx, func(s *session) error { return m.furnish(ctx, s) }); err != nil {
		return err
	}
	return m.keepReplicas(ctx, accounts)
}

// endRecovery has the server follow nobody any more, after it has applied all that it has received. A server that has paused, since its
// source has outgrown it, would end when it is promoted: it is started anew first, with what its source had.
func (m *Manager) endRecovery(ctx context.Context) error {
	for asked := false; ; {
		follows, err := m.standsBy(ctx)
		if err != nil || !follows {
			return err
		}
		anew, err := m.grow(ctx)
		if err != nil {
			return err
		}
		if !asked || anew {
			err := m.with(ctx, func(s *session) error { return s.exec(ctx, "SELECT pg_promote(false)") })
			if err != nil && !is(err, stateNotInState) { // else what was asked for before has just ended: the next look sees it
				return err
			}
			asked = true
		}
		if !service.Pause(ctx, lookEvery) {
			return ctx.Err()
		}
	}
}

// grow starts a server anew that has paused since its source has outgrown it, and reports whether it did.
func (m *Manager) grow(ctx context.Context) (anew bool, err error) {
	if paused, err := m.paused(ctx); err != nil || !paused {
		return false, nil // an error: it has ended meanwhile
	}
	reason, err := m.outgrown(ctx)
	if err != nil || reason == "" {
		return false, err
	}
	return true, errors.Join(m.Stop(ctx), m.Start(ctx))
}

// standsBy reports whether the server applies the log of another, or of a backup.
func (m *Manager) standsBy(ctx context.Context) (yes bool, err error) {
	err = m.with(ctx, func(s *session) error {
		v, err := s.one(ctx, "SELECT pg_is_in_recovery()")
		yes = v.bool()
		return err
	})
	return yes, err
}

// setReadOnly stops the server, which ends every session and writes and
// sends all that was acknowledged; then it starts as a standby of nobody, see side.
func (m *Manager) setReadOnly(ctx context.Context, on bool) error {
	had, err := m.loadSide()
	if err != nil {
		return err
	}
	if had.Source != nil || had.Standby == on {
		return m.Start(ctx) // a replica is read-only in any case
	}
	if err := m.Stop(ctx); err != nil {
		return err
	}
	had.Standby = on
	if err := m.saveSide(had); err != nil {
		return err
	}
	return m.Start(ctx)
}

func (m *Manager) position(ctx context.Context) (p datastores.Position, err error) {
	err = m.with(ctx, func(s *session) error {
		end, err := s.logEnd(ctx)
		p = datastores.Position{ID: end.String(), Count: uint64(end)}
		return err
	})
	return p, err
}

// waitFor waits for the replay, so that whoever reads afterwards sees all.
func (m *Manager) waitFor(ctx context.Context, p datastores.Position) error {
	want, err := parseLSN(p.ID)
	if err != nil {
		return datastores.Errorf(datastores.Invalid, "%v", err)
	}
	return m.with(ctx, func(s *session) error {
		for {
			come, err := s.one(ctx, "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= $1::pg_lsn", want.String())
			if err != nil || come.bool() {
				return failed(err, "cannot ask how far the server has come")
			}
			if !service.Pause(ctx, lookEvery) {
				return fmt.Errorf("the server has not come to %s: %w", want, ctx.Err())
			}
		}
	})
}

// mayRewind returns an error when a server that is stopped has what its source has not.
func (m *Manager) mayRewind(ctx context.Context, following side) error {
	had, err := m.loadSide()
	if err != nil || had.Rewinding { // then that was decided before
		return err
	}
	if err := m.finishRecovery(ctx); err != nil {
		return err
	}
	says, err := m.runRewind(ctx, following, "--dry-run")
	if err != nil || strings.Contains(says, "no rewind required") || strings.Contains(says, "same timeline") {
		return err
	}
	from := "an earlier place"
	if at := parted.FindStringSubmatch(says); at != nil {
		from = at[1]
	}
	return datastores.Errorf(datastores.Conflict, "this server has a log of its own since %s, which its source has not: attaching it would discard that. "+
		"Save what you need of it, then have it follow anew and discard what it has", from)
}

// parted is where two servers' ways parted, in the words of pg_rewind.
var parted = regexp.MustCompile(`servers diverged at WAL location ([0-9A-F]+/[0-9A-F]+)`)

// runRewind runs pg_rewind, and returns what it says.
func (m *Manager) runRewind(ctx context.Context, following side, more ...string) (string, error) {
	var says bytes.Buffer
	out, err := m.run(ctx, append([]string{
		m.program("pg_rewind"), "--target-pgdata=" + m.path(dataDir), "--source-server=" + m.conninfo(*following.Source), "--no-ensure-shutdown",
	}, more...), service.RunOptions{Env: []string{"PGPASSFILE=" + m.path(passName)}, Stderr: &says})
	if err != nil {
		err = fmt.Errorf("what this server has and its new source has not cannot be taken back; try again, or have it follow anew and discard what it has: %w", err)
	}
	return out + says.String(), err
}

// rewind makes a server that is stopped one that can follow a source: what that has not is taken back to where their ways
// parted. A server that has nothing more than the source is left as it is.
func (m *Manager) rewind(ctx context.Context, following side) error {
	had, err := m.loadSide()
	if err != nil {
		return err
	}
	if !had.Rewinding {
		if err := m.finishRecovery(ctx); err != nil {
			return err
		}
	}
	following.Rewinding = true
	if err := m.saveSide(following); err != nil {
		return err
	}
	_, err = m.runRewind(ctx, following)
	return err
}

// finishRecovery lets a server that was killed recover: pg_rewind wants one that was stopped. Nobody can write meanwhile.
func (m *Manager) finishRecovery(ctx context.Context) error {
	control, err := m.control(ctx)
	if err != nil {
		return err
	}
	if state := control["Database cluster state"]; state == "shut down" || state == "shut down in recovery" {
		return nil
	}
	had, err := m.loadSide()
	if err != nil {
		return err
	}
	if !had.Standby {
		had.Standby = true
		if err := m.saveSide(had); err != nil {
			return err
		}
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	return m.Stop(ctx)
}
