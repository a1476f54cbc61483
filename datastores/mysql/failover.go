package mysql

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// MariaDB's source waits for one replica of those that say, when they connect, that they acknowledge. It cannot tell them apart, so a
// replica says so only after it was told to stand, and one that is waited for no more loses its account.
//
// It waits after the commit (AFTER_COMMIT), so others see a row before its writer is told that it is safe. Before (AFTER_SYNC) it waits
// with the lock of its log: when a replica loses its link after it has received what waits, nothing comes after that it could acknowledge,
// and the source waits for ever. What waits when the source is lost nobody was told of; its server has it when it is back, and is made anew.

// semiSyncTimeout is how long a transaction waits, in milliseconds: ten years. The server's own is ten seconds.
const semiSyncTimeout = 10 * 365 * 24 * 60 * 60 * 1000

// failover is how MariaDB does it; nil of other families, and where the definition has every replica acknowledge.
func (m *Manager) failover() *datastores.Failover {
	if m.variant.family != "mariadb" || m.options.SemiSync {
		return nil
	}
	return &datastores.Failover{Await: m.await, Stand: m.stand}
}

// waiting are the variables of a source that waits; enabled comes last.
func waiting() []configfile.Setting {
	return []configfile.Setting{
		{Name: "rpl_semi_sync_master_timeout", Value: strconv.Itoa(semiSyncTimeout)},
		{Name: "rpl_semi_sync_master_wait_point", Value: "AFTER_COMMIT"},
		{Name: "rpl_semi_sync_master_wait_no_slave", Value: "ON"},
		{Name: "rpl_semi_sync_master_enabled", Value: "ON"},
	}
}

const acknowledges = "rpl_semi_sync_slave_enabled"

// sideSettings are those of the configuration by which a server begins as its side has it.
func (s side) settings() (all []configfile.Setting) {
	if s.Waits {
		all = append(all, waiting()...)
	}
	if s.Stands {
		all = append(all, configfile.Setting{Name: acknowledges, Value: "ON"})
	}
	if s.Fenced {
		all = append(all, configfile.Setting{Name: "skip_slave_start", Value: "ON"})
	}
	return all
}

func (m *Manager) await(ctx context.Context, on datastores.Await) (p datastores.Position, err error) {
	if on.Count > 1 || on.Count > len(on.Candidates) {
		return p, datastores.Errorf(datastores.Invalid, "MariaDB waits for one replica, not for %d of %d", on.Count, len(on.Candidates))
	}
	is, err := m.loadSide()
	if err != nil {
		return p, err
	}
	if is.Waits = on.Count > 0; is.Waits {
		err = m.own.SaveJSON(sideName, is) // before it waits: a server that is killed here waits, too
	}
	if err != nil {
		return p, err
	}
	err = m.turn(ctx, func(db *sql.DB) error {
		if !is.Waits {
			return failed(execute(ctx, db, "SET GLOBAL rpl_semi_sync_master_enabled = OFF"), "cannot have the server wait for nobody")
		}
		for _, s := range waiting() {
			value := s.Value
			if s.Name == "rpl_semi_sync_master_wait_point" {
				value = text(value)
			}
			if err := execute(ctx, db, "SET GLOBAL "+s.Name+" = "+value); err != nil {
				return failed(err, "cannot have the server wait for its replicas")
			}
		}
		return nil
	})
	if err == nil && !is.Waits {
		err = m.own.SaveJSON(sideName, is)
	}
	for _, replica := range on.Ceased {
		if err == nil {
			err = m.removeReplica(ctx, replica)
		}
	}
	if err != nil {
		return p, err
	}
	return m.position(ctx)
}

// wakeWaiting has transactions that wait be acknowledged again: a replica that has received them and then lost its link says so with the next one.
func (m *Manager) wakeWaiting(ctx context.Context, db *sql.DB) error {
	is, err := m.loadSide()
	if err != nil || !is.Waits {
		return err
	}
	row, err := oneRow(ctx, db, "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_wait_sessions'")
	if err != nil || row["Value"] == "0" {
		return failed(err, "cannot ask whether transactions wait")
	}
	ctx, cancel := context.WithTimeout(ctx, wakePatience)
	defer cancel()
	_, _ = db.ExecContext(ctx, "FLUSH HOSTS") // it is logged, and waits itself
	return nil
}

// wakePatience is how long the guest waits with those that wait.
const wakePatience = 500 * time.Millisecond

// stand stores first whether the server is fenced: one that is started meanwhile receives nothing.
func (m *Manager) stand(ctx context.Context, fenced bool) (p datastores.Position, err error) {
	is, err := m.loadSide()
	if err != nil {
		return p, err
	}
	was := is
	is.Fenced, is.Stands = fenced, is.Stands || !fenced
	if !fenced {
		is.Voted = 0
	}
	if err := m.own.SaveJSON(sideName, is); err != nil {
		return p, err
	}
	err = m.turn(ctx, func(db *sql.DB) error {
		following, err := m.follows(ctx, db)
		if err != nil {
			return err
		}
		if following.source == "" {
			return datastores.Errorf(datastores.Conflict, "the server is no replica")
		}
		statements := []string{"START SLAVE SQL_THREAD", "STOP SLAVE IO_THREAD"}
		switch {
		case !fenced && was.Stands && !was.Fenced && following.receiving == "Yes" && following.applying:
			statements = nil
		case !fenced: // the source hears of it when the replica connects
			statements = append(statements, "SET GLOBAL "+acknowledges+" = ON", "START SLAVE")
		}
		if !following.applying { // a server that neither receives nor applies forgets what it has received when it begins again
			if err := m.forgets(); err != nil {
				return err
			}
		}
		if err := execute(ctx, db, statements...); err != nil {
			return failed(err, "cannot change how the server receives from its source")
		}
		if p, err = m.received(ctx, db); err != nil || !fenced {
			return err
		}
		return m.vote(p)
	})
	return p, err
}

// received is how far a replica has come, with what it has received and has not applied.
func (m *Manager) received(ctx context.Context, db *sql.DB) (datastores.Position, error) {
	p, err := m.variant.dialect.position(ctx, db)
	if err != nil {
		return p, failed(err, "cannot read the server's position")
	}
	following, err := m.follows(ctx, db)
	if err != nil {
		return p, err
	}
	all, err := parseGTIDs(following.row["Gtid_IO_Pos"])
	if err != nil {
		return p, err
	}
	if last, ok := all.last(0); ok && last.seq > p.Count {
		p = datastores.Position{ID: last.String(), Count: last.seq}
	}
	return p, nil
}

// forgetWaiting makes a server one that waits for nobody and acknowledges nothing. Nobody may wait any more: it would be told that its transaction is
// safe.
func (m *Manager) forgetWaiting(ctx context.Context, db *sql.DB) error {
	if m.failover() == nil {
		return nil
	}
	err := execute(ctx, db, "SET GLOBAL rpl_semi_sync_master_enabled = OFF", "SET GLOBAL "+acknowledges+" = OFF")
	return failed(err, "cannot have the server wait for nobody")
}

// applyFenced has a server go on to apply that was started without receiving.
func (m *Manager) applyFenced(ctx context.Context) error {
	is, err := m.loadSide()
	if err != nil || !is.Fenced {
		return err
	}
	return m.turn(ctx, func(db *sql.DB) error {
		return failed(execute(ctx, db, "START SLAVE SQL_THREAD"), "cannot apply what was received")
	})
}
