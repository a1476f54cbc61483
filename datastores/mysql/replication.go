package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	replicationNamespace = "mysql_gtid"

	connectRetry = 1  // seconds until a replica tries again
	heartbeat    = 10 // seconds of silence of a source that has nothing to tell

	attachPatience = 2 * time.Minute
	drainPatience  = 5 * time.Second
	lookEvery      = 50 * time.Millisecond
)

// ReplicationStrategies implements [datastores.Replication].
func (m *Manager) ReplicationStrategies() []datastores.ReplicationStrategy {
	return []datastores.ReplicationStrategy{gtidReplication{m}}
}

// gtidReplication follows the source's binary log by global transaction identifiers, asynchronously.
type gtidReplication struct{ m *Manager }

// Strategy implements [datastores.ReplicationStrategy].
func (s gtidReplication) Strategy() datastores.StrategyName {
	return datastores.StrategyName{Namespace: replicationNamespace, Name: s.m.variant.dialect.strategy()}
}

// NeedsBackup implements [datastores.ReplicationStrategy].
func (s gtidReplication) NeedsBackup() (datastores.StrategyName, bool) {
	return s.m.physicalStrategy().StrategyName, true
}

// AddReplica implements [datastores.ReplicationStrategy]. The account is this server's only; the binary log is kept for
// binlogDays where there is space for it, which is how long the replica has.
func (s gtidReplication) AddReplica(ctx context.Context, replica datastores.ReplicaAccount) error {
	if replica.User == "" || replica.Password.IsZero() {
		return datastores.Errorf(datastores.Invalid, "the account of a replica needs a name and a password")
	}
	if err := s.m.session(func(db *sql.DB) error { return s.m.takeReadOnlyAdmin(ctx, db) }); err != nil {
		return err
	}
	return s.m.addAccounts(ctx, []datastores.ReplicaAccount{replica})
}

func (m *Manager) addAccounts(ctx context.Context, replicas []datastores.ReplicaAccount) error {
	return m.local(func(db *sql.DB) error {
		for _, r := range replicas {
			a, password := newAccount(r.User, ""), m.variant.identified(r.Password)
			err := execute(ctx, db,
				"CREATE USER IF NOT EXISTS "+a.sql()+password,
				"ALTER USER "+a.sql()+password,
				"GRANT REPLICATION SLAVE ON *.* TO "+a.sql())
			if err != nil {
				return failed(err, "cannot make the account of replica %s", r.ReplicaID)
			}
		}
		return nil
	})
}

// RemoveReplica implements [datastores.ReplicationStrategy].
func (s gtidReplication) RemoveReplica(ctx context.Context, replica datastores.ReplicaAccount) error {
	return s.m.local(func(db *sql.DB) error {
		if err := execute(ctx, db, "DROP USER IF EXISTS "+newAccount(replica.User, "").sql()); err != nil {
			return failed(err, "cannot remove the account of replica %s", replica.ReplicaID)
		}
		return failed(endSessions(ctx, db, "USER = "+text(replica.User)), "cannot end the session of replica %s", replica.ReplicaID)
	})
}

// Attach implements [datastores.ReplicationStrategy]. A server with a history of its own, a source until now or a replica of
// another one, goes on after its last transaction when the source has that, and is refused when not.
func (s gtidReplication) Attach(ctx context.Context, req datastores.AttachRequest) error {
	return s.m.session(func(db *sql.DB) error {
		words := s.m.variant.dialect.words()
		req.Progress("refusing writes")
		if err := s.m.refuseWrites(ctx, db); err != nil {
			return err
		}
		if err := execute(ctx, db, words.stop); err != nil {
			return failed(err, "cannot stop following the source before")
		}
		if err := s.m.endShutOut(ctx, db); err != nil { // what comes from the source is compared with what is so now
			return err
		}
		req.Progress("comparing histories")
		start, err := s.startAt(ctx, db, req)
		if err != nil {
			return err
		}
		if err := execute(ctx, db, start...); err != nil {
			return failed(err, "cannot go to the place in the source's history")
		}
		if err := s.m.own.SaveJSON(roleName, role{ReadOnly: true, Placed: true}); err != nil {
			return err
		}
		req.Progress("following " + req.Address)
		if err := execute(ctx, db, s.m.variant.dialect.follow(req, s.m.env.ServerTLS()), words.start); err != nil {
			return failed(err, "cannot follow the source")
		}
		return s.m.awaitFollowing(ctx, db)
	})
}

// startAt returns the statements that tell a replica where to begin.
func (s gtidReplication) startAt(ctx context.Context, db *sql.DB, req datastores.AttachRequest) ([]string, error) {
	r, err := s.m.loadRole()
	if err != nil {
		return nil, err
	}
	if len(req.Backup) > 0 && !req.Former && !r.Placed {
		var meta backupMeta
		if err := json.Unmarshal(req.Backup, &meta); err != nil {
			return nil, datastores.Errorf(datastores.Invalid, "the backup does not say where in its source's history it ends")
		}
		return s.m.variant.dialect.startAtBackup(meta.GTID), nil
	}
	source, err := s.m.dialSource(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close() }()
	return s.m.variant.dialect.startAtOwn(ctx, db, source)
}

// dialSource logs in to a source with the replica's account, which may ask for its position.
func (m *Manager) dialSource(req datastores.AttachRequest) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd = req.Account.User, req.Account.Password.Reveal()
	c.Net, c.Addr = "tcp", net.JoinHostPort(req.Address, strconv.Itoa(port))
	c.Timeout, c.ReadTimeout = pingTimeout, attachPatience
	c.Logger = &mysql.NopLogger{}
	secure, err := m.env.ServerTLS().ToSource(req.Address)
	if err != nil {
		return nil, err
	}
	c.TLS = secure
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// Detach implements [datastores.ReplicationStrategy].
func (s gtidReplication) Detach(ctx context.Context) error {
	return s.m.session(func(db *sql.DB) error {
		if err := s.forget(ctx, db); err != nil {
			return err
		}
		return s.m.takeWrites(ctx, db)
	})
}

// forget makes a replica follow nobody. From then on its events are its own.
func (s gtidReplication) forget(ctx context.Context, db *sql.DB) error {
	words := s.m.variant.dialect.words()
	if err := execute(ctx, db, words.stop); err != nil {
		return failed(err, "cannot stop following the source")
	}
	following, err := s.m.follows(ctx, db)
	if err != nil || following.source == "" {
		return err
	}
	if err := s.m.ownEvents(ctx); err != nil {
		return err
	}
	return failed(execute(ctx, db, words.forget), "cannot stop following the source")
}

// Position implements [datastores.ReplicationStrategy]. A replica whose source is gone first applies what it has received.
func (s gtidReplication) Position(ctx context.Context) (p datastores.Position, err error) {
	err = s.m.session(func(db *sql.DB) error {
		following, err := s.m.follows(ctx, db)
		if err != nil {
			return err
		}
		if following.source != "" && following.receiving != "Yes" {
			ctx, cancel := context.WithTimeout(ctx, drainPatience)
			_ = s.m.drain(ctx, db) // what it has applied is told all the same
			cancel()
		}
		p, err = s.m.variant.dialect.position(ctx, db)
		return failed(err, "cannot read the server's position")
	})
	return p, err
}

// WaitFor implements [datastores.ReplicationStrategy].
func (s gtidReplication) WaitFor(ctx context.Context, p datastores.Position) error {
	if p.ID == "" { // nothing was ever written
		return nil
	}
	return s.m.session(func(db *sql.DB) error {
		for {
			var result sql.NullInt64
			if err := db.QueryRowContext(ctx, s.m.variant.dialect.wait(p, 1)).Scan(&result); err != nil {
				return failed(err, "cannot wait for %s", p.ID)
			}
			if result.Valid && s.m.variant.dialect.reached(int(result.Int64)) {
				return nil
			}
			following, err := s.m.follows(ctx, db)
			if err != nil {
				return err
			}
			if following.source == "" || following.broken != "" {
				return datastores.Errorf(datastores.Conflict, "the server does not come to %s: it is no replica that runs: %s", p.ID, following.broken)
			}
		}
	})
}

// Promote implements [datastores.ReplicationStrategy]. What was received is applied before.
func (s gtidReplication) Promote(ctx context.Context, accounts []datastores.ReplicaAccount) error {
	if err := s.m.addAccounts(ctx, accounts); err != nil {
		return err
	}
	return s.m.session(func(db *sql.DB) error {
		following, err := s.m.follows(ctx, db)
		if err != nil {
			return err
		}
		words := s.m.variant.dialect.words()
		if following.source != "" {
			if err := execute(ctx, db, words.stopReceiving); err != nil {
				return failed(err, "cannot stop following the source")
			}
			if err := execute(ctx, db, words.startApplying); err != nil { // a promotion that was cut may have stopped it
				return failed(err, "cannot apply what was received")
			}
			if err := s.m.drain(ctx, db); err != nil {
				_ = execute(context.WithoutCancel(ctx), db, words.start)
				return err
			}
		}
		if err := s.forget(ctx, db); err != nil {
			return err
		}
		return s.m.takeWrites(ctx, db)
	})
}

// following is how a replica gets on.
type following struct {
	source    string // its address; "": it is none
	receiving string // Yes, No, Connecting
	applying  bool
	drained   bool   // all that was received is applied
	broken    string // why it does not go on
	trouble   string // why it does not receive, for the moment
}

func (m *Manager) follows(ctx context.Context, db *sql.DB) (following, error) {
	words := m.variant.dialect.words()
	row, err := oneRow(ctx, db, words.status)
	if err != nil || row == nil {
		return following{}, failed(err, "cannot read the state of replication")
	}
	f := following{
		source:    row[words.host],
		receiving: row[words.receiving],
		applying:  row[words.applying] == "Yes",
		drained:   strings.Contains(row[words.applyState], "has read all relay log"),
		broken:    row[words.applyError],
		trouble:   row[words.receiveError],
	}
	if row[words.receiveErrno] == errSourceCannotGoOn {
		f.broken = f.trouble
	}
	return f, nil
}

// errSourceCannotGoOn is what a replica is told that asks for what the source has not got, or not any more.
const errSourceCannotGoOn = "1236"

// awaitFollowing returns when the replica receives and applies.
func (m *Manager) awaitFollowing(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, attachPatience)
	defer cancel()
	for {
		f, err := m.follows(ctx, db)
		switch {
		case err != nil:
			return err
		case f.broken != "":
			return datastores.Errorf(datastores.Conflict, "the server cannot follow the source: %s", f.broken)
		case f.receiving == "Yes" && f.applying:
			return nil
		}
		if !service.Pause(ctx, lookEvery) {
			return fmt.Errorf("the server does not follow the source yet: %w: %s", ctx.Err(), f.trouble)
		}
	}
}

// drain returns when a replica has applied what it has received.
func (m *Manager) drain(ctx context.Context, db *sql.DB) error {
	for {
		f, err := m.follows(ctx, db)
		switch {
		case err != nil:
			return err
		case f.broken != "" || !f.applying:
			return datastores.Errorf(datastores.Conflict, "the replica does not apply what it has received: %s", f.broken)
		case f.drained:
			return nil
		}
		if !service.Pause(ctx, lookEvery) {
			return fmt.Errorf("the replica has not applied yet what it has received: %w", ctx.Err())
		}
	}
}

// oneRow returns the first row of a result by column, nil when there is none.
func oneRow(ctx context.Context, db *sql.DB, statement string) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil || !rows.Next() {
		return nil, firstError(err, rows.Err())
	}
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	row := map[string]string{}
	for i, name := range columns {
		row[name] = values[i].String
	}
	return row, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
