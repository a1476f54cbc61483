package postgresql

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// A source that waits for replicas has them in synchronous_standby_names, by the names of their slots, from its configuration, so that
// it waits from the first commit after a start on. A session of a tenant's that has set its own synchronous_commit waits as that says.

const (
	syncNames = "synchronous_standby_names"
	// fencePatience is how long a replica may go on to receive until it is started anew.
	fencePatience = 3 * time.Second
)

// awaitSetting is the value of [syncNames].
func awaitSetting(on *datastores.Await) (string, error) {
	if on == nil || on.Count == 0 {
		return "", nil
	}
	var names []string
	for _, account := range on.Candidates {
		slot, err := slotOf(account)
		if err != nil {
			return "", err
		}
		names = append(names, `"`+slot+`"`)
	}
	return fmt.Sprintf("ANY %d (%s)", on.Count, strings.Join(names, ", ")), nil
}

func (m *Manager) await(ctx context.Context, on datastores.Await) (datastores.Position, error) {
	value, err := awaitSetting(&on)
	if err == nil && on.Count > len(on.Candidates) {
		err = datastores.Errorf(datastores.Invalid, "a source cannot wait for %d of %d replicas", on.Count, len(on.Candidates))
	}
	if err != nil {
		return datastores.Position{}, err
	}
	is, err := m.loadSide()
	if err != nil {
		return datastores.Position{}, err
	}
	is.Await = &on
	if value == "" {
		is.Await = nil
	}
	if err := m.saveSide(is); err != nil {
		return datastores.Position{}, err
	}
	// Who waits learns of it from the checkpointer. When the second reload is seen, the first has been told to all; then a checkpoint
	// says that it was heard.
	for range 2 {
		if err := m.reload(ctx); err != nil {
			return datastores.Position{}, err
		}
	}
	err = m.with(ctx, func(s *session) error {
		if err := endSenders(ctx, s, on.Ceased); err != nil || is.Standby {
			return err
		}
		return failed(s.exec(ctx, "CHECKPOINT"), "cannot write a checkpoint")
	})
	if err != nil {
		return datastores.Position{}, err
	}
	return m.position(ctx)
}

// endSenders ends the sessions of replicas that are waited for no more: they might count by what was said before.
func endSenders(ctx context.Context, s *session, ceased []datastores.ReplicaAccount) error {
	for _, account := range ceased {
		slot, err := slotOf(account)
		if err != nil {
			return err
		}
		if _, err := s.query(ctx, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_replication WHERE application_name = $1", slot); err != nil {
			return failed(err, "cannot end the session of replica %s", account.ReplicaID)
		}
	}
	return nil
}

// stand stores first whether the server is fenced: one that is started meanwhile receives nothing.
func (m *Manager) stand(ctx context.Context, fenced bool) (datastores.Position, error) {
	is, err := m.loadSide()
	if err != nil {
		return datastores.Position{}, err
	}
	if is.Source == nil {
		return datastores.Position{}, datastores.Errorf(datastores.Conflict, "the server is no replica")
	}
	if is.Fenced != fenced {
		is.Fenced = fenced
		if err := m.saveSide(is); err != nil {
			return datastores.Position{}, err
		}
	}
	if err := m.reload(ctx); err != nil {
		return datastores.Position{}, err
	}
	if fenced {
		if err := m.awaitSilence(ctx); err != nil {
			return datastores.Position{}, err
		}
	}
	return m.position(ctx)
}

// awaitSilence returns when the server receives nothing more, and knows how far its log goes. The process that receives is ended by the
// one that applies, which may be busy: then the server is started anew.
func (m *Manager) awaitSilence(ctx context.Context) error {
	begun, restarted := time.Now(), false
	for {
		receives, known := false, false
		err := m.with(ctx, func(s *session) error {
			row, err := s.query(ctx, `SELECT EXISTS (SELECT FROM pg_stat_wal_receiver), pg_last_wal_receive_lsn() IS NOT NULL OR EXISTS (
				SELECT FROM pg_stat_activity WHERE backend_type = 'startup' AND wait_event IN ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream', 'RecoveryPause'))`)
			if err == nil {
				receives, known = row[0][0].bool(), row[0][1].bool()
			}
			return failed(err, "cannot ask whether the server receives a log")
		})
		switch {
		case err != nil:
			return err
		case !receives && known:
			return nil
		case receives && !restarted && time.Since(begun) > fencePatience:
			restarted = true
			if err := m.Stop(ctx); err != nil {
				return err
			}
			if err := m.Start(ctx); err != nil {
				return err
			}
		}
		if !service.Pause(ctx, lookEvery) {
			return fmt.Errorf("the server has not stopped receiving the log of its source: %w", ctx.Err())
		}
	}
}
